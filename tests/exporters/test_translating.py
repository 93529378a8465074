"""A graph is decomposed before its translation only where ONNX has no operator for it."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.runtime.backends.sessions import open_session

AXES = ("batch", 4)
DECOMPOSED = "to be decomposed"


class Usual(nn.Module):
    """What our families' modules are made of, with a cast and a difference."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept = (torch.arange(4) < x.sum(dim=1, keepdim=True)).to(x.dtype)
        return torch.softmax(self.linear(x) * (1 - kept), dim=-1)


class Unknown(nn.Module):
    """With an operator that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.xlog1py(x, x)


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found = x + 1
        found[:, 1:3] *= 2
        return found + found.sum()


def traced(module: nn.Module) -> ir.Model:
    inputs, outputs = (GraphTensor(name, torch.float32, AXES) for name in "xy")
    return to_onnx(module, [inputs], [outputs], 20)


@pytest.mark.parametrize("made", [Usual, Unknown, InPlace])
def test_a_graph_computes_what_its_module_does(made: type[nn.Module]) -> None:
    module = made().eval()
    x = torch.rand(5, 4)
    session = open_session(ir.to_proto(traced(module)).SerializeToString())
    with torch.no_grad():
        np.testing.assert_allclose(
            session.run(None, {"x": x.numpy()})[0], module(x), rtol=1e-5, atol=1e-6
        )


def test_what_our_modules_are_made_of_needs_no_decomposition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "itr_deploy.exporters"):
        traced(Usual())
        assert DECOMPOSED not in caplog.text
        traced(Unknown())
        assert DECOMPOSED in caplog.text


class Beyond(nn.Module):
    """Treats what lies beyond a size differently; the examples of a trace do not reach it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:20], 2 * x[20:]])


def test_a_graph_is_not_that_of_its_examples_sizes_alone() -> None:
    x = torch.rand(25, 4)
    session = open_session(ir.to_proto(traced(Beyond())).SerializeToString())
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], Beyond()(x))
