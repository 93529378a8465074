"""Text processing as the models were trained with, one file a kind."""

from __future__ import annotations

from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import TextProcessor
from itr_deploy.runtime.text.words import NltkWordProcessor

__all__ = ["TextProcessor", "text_processor"]


def text_processor(bundle: Bundle) -> TextProcessor:
    """The text processing that a bundle's manifest names."""
    return NltkWordProcessor.from_bundle(bundle, bundle.manifest.text_processing)
