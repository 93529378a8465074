from __future__ import annotations

import hashlib
from typing import Any

import onnx_ir as ir
import pytest
import torch

from itr_deploy.exporters.tracing import to_onnx


@pytest.fixture(scope="module")
def traces() -> dict[tuple[str, ...], ir.Model]:
    """What PyTorch traced in a module's tests."""
    return {}


@pytest.fixture
def traced_once(traces: dict[tuple[str, ...], ir.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's exports trace a network the first time; all else that they do is done.

    For exports of one checkpoint: options that change a network but not its weights are not seen.
    """

    def trace(module: torch.nn.Module, *given: Any) -> ir.Model:
        weights = hashlib.sha256()
        for value in module.state_dict().values():
            weights.update(value.numpy().tobytes())
        key = type(module).__name__, repr(given), weights.hexdigest()
        if key not in traces:
            traces[key] = to_onnx(module, *given)
        return traces[key].clone()

    for room in ("graphs", "build"):
        monkeypatch.setattr(f"itr_deploy.exporters.{room}.to_onnx", trace)
