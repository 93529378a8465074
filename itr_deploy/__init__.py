"""Deploy fine-grained image-text matchers: ONNX bundles, galleries and search without PyTorch.

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itr_deploy.runtime import Encoded, Gallery, Hit, Hits, Matcher, Retriever

__version__ = version("itr-deploy")

__all__ = ["Encoded", "Gallery", "Hit", "Hits", "Matcher", "Retriever", "__version__"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("itr_deploy.runtime"), name)
    raise AttributeError(f"module 'itr_deploy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
