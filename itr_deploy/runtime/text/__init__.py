"""The text processing that the models were trained with, one file per kind."""

from __future__ import annotations

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import TextProcessor
from itr_deploy.runtime.text.wordpiece import WordPieceProcessor
from itr_deploy.runtime.text.words import NltkWordProcessor

__all__ = ["TextProcessor", "text_processor"]


def text_processor(bundle: Bundle) -> TextProcessor:
    """The text processing that a bundle's manifest names."""
    processing = bundle.manifest.text_processing
    if isinstance(processing, WordPiece):
        return WordPieceProcessor.from_bundle(bundle, processing)
    return NltkWordProcessor.from_bundle(bundle, processing)
