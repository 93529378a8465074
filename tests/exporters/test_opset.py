"""A bundle's graphs have the operator set that was asked for, or there is no bundle."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from itr_deploy.errors import SetupError
from itr_deploy.exporters.build import checked_opset
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.models.registry import OPSETS


def traced(opset: int) -> object:
    tensor = GraphTensor("x", torch.float32, ("batch", 4))
    return to_onnx(Doubled(), [tensor], [GraphTensor("y", torch.float32, ("batch", 4))], opset)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("opset", OPSETS)
def test_a_graph_has_the_operator_set_that_was_asked_for(opset: int) -> None:
    assert checked_opset("g", traced(opset), opset) == opset


def test_a_graph_that_pytorch_did_not_convert_is_refused() -> None:
    """PyTorch logs that it cannot convert and returns the graph all the same."""
    with pytest.raises(SetupError, match=r"graph g: torch .* made operator set 18 of it, not op"):
        checked_opset("g", traced(3), 3)
