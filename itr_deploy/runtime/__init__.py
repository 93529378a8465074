"""The runtime half: encoding, matching and search from a bundle, without PyTorch.

What users hold is found here too, loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itr_deploy.runtime.detector.detection import Detection
    from itr_deploy.runtime.detector.detector import Detector
    from itr_deploy.runtime.encoding.encoded import Encoded
    from itr_deploy.runtime.explanation import Explanation
    from itr_deploy.runtime.gallery.gallery import Gallery
    from itr_deploy.runtime.hits import Hit, Hits
    from itr_deploy.runtime.matcher import Matcher
    from itr_deploy.runtime.retriever import Retriever

_HOMES = {
    "Detection": "detector.detection",
    "Detector": "detector.detector",
    "Encoded": "encoding.encoded",
    "Explanation": "explanation",
    "Gallery": "gallery.gallery",
    "Hit": "hits",
    "Hits": "hits",
    "Matcher": "matcher",
    "Retriever": "retriever",
}

__all__ = [
    "Detection",
    "Detector",
    "Encoded",
    "Explanation",
    "Gallery",
    "Hit",
    "Hits",
    "Matcher",
    "Retriever",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'itr_deploy.runtime' has no attribute {name!r}")
    return getattr(import_module(f"itr_deploy.runtime.{_HOMES[name]}"), name)
