"""What runs a bundle's graphs: one protocol, one file a backend."""

from __future__ import annotations

from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import UsageError
from itr_deploy.runtime.backends.base import Arrays, Backend
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["Arrays", "Backend", "OnnxRuntimeBackend", "open_backend"]


def open_backend(
    bundle: Bundle, device: str = "cpu", backend: str = "auto", threads: int | None = None
) -> Backend:
    """A backend over a bundle's graphs.

    Args:
        bundle: The opened bundle.
        device: ``"cpu"`` or ``"cuda"``.
        backend: ``"onnxruntime"``, or ``"auto"``, which is the same.
        threads: Threads that compute on the CPU; None for every core this process may use.

    Raises:
        SetupError: onnxruntime is not installed, or has not the device's provider.
        UsageError: The backend or the device is not one of those named.
    """
    if backend not in ("auto", "onnxruntime"):
        raise UsageError(f"backend {backend!r} is unknown; known: auto, onnxruntime")
    return OnnxRuntimeBackend(bundle, device, threads)
