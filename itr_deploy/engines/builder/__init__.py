"""Engines from a bundle's graphs, for TensorRT and TensorRT for RTX.

Needs the target's library but neither torch nor onnx: a GPU machine without PyTorch can build its
own engines.
"""

from __future__ import annotations

from itr_deploy.engines.builder.bundle import BuildRequest, BuiltEngines, build_engines

__all__ = ["BuildRequest", "BuiltEngines", "build_engines"]
