"""The backends that run a bundle's graphs: one protocol, one file per backend."""

from __future__ import annotations

from itr_deploy.runtime.backends.base import Arrays, Backend
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.backends.opening import open_backend

__all__ = ["Arrays", "Backend", "OnnxRuntimeBackend", "open_backend"]
