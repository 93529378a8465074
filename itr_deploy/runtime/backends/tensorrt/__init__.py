"""TensorRT and TensorRT for RTX: a bundle's engines on an NVIDIA GPU, without ONNX Runtime.

An engine's worker (`worker.py`) copies a call's arrays to the device, runs the engine, and copies
the outputs back. Arrays that are used again, such as a resident gallery's, are copied once
(`../device_copies.py`).
"""

from __future__ import annotations

from itr_deploy.runtime.backends.tensorrt.backend import TensorRTBackend

__all__ = ["TensorRTBackend"]
