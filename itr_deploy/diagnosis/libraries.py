"""What is asked of a library: by pip's notes, or by importing it, for a process of its own."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, None without one. Nothing of it is imported."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def describe_onnxruntime() -> dict[str, Any]:
    """Import ONNX Runtime; its ``version``, and the ``providers`` that it lists."""
    import onnxruntime

    return {
        "version": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
    }


def version_of(module: str) -> str:
    """Import a module; its version."""
    return str(import_module(module).__version__)
