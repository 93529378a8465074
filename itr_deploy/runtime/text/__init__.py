"""The text processing that the models were trained with, one file per kind."""

from __future__ import annotations

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, ItrDeployError
from itr_deploy.runtime.text.base import TextProcessor
from itr_deploy.runtime.text.wordpiece import WordPieceProcessor
from itr_deploy.runtime.text.words import NltkWordProcessor

__all__ = ["TextProcessor", "text_processor"]


def text_processor(bundle: Bundle) -> TextProcessor:
    """The text processing that a bundle's manifest names.

    Raises:
        BundleError: A file that it reads is not what it should be.
    """
    processing = bundle.manifest.text_processing
    kind = WordPieceProcessor if isinstance(processing, WordPiece) else NltkWordProcessor
    try:
        processor: TextProcessor = kind.from_bundle(bundle, processing)  # type: ignore[arg-type]
        # What only shows in use, such as a special word that is missing, shows now.
        processor.token_ids(["a"])
        processor.unknown_words("a")
    except ItrDeployError:
        raise
    except Exception as error:  # json, nltk and tokenizers raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyError):
            said = f"{error} is missing"
        raise BundleError(
            f"{bundle.path}: its text processing cannot be read ({', '.join(processing.files)}): "
            f"{said[:200]}; export the bundle again"
        ) from error
    return processor
