"""int8 products, computed by ONNX Runtime from their exported form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.exporters.modules import Quantised
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.models import quantised
from itr_deploy.models.precision import full_precision
from itr_deploy.models.quantised import unquantised
from itr_deploy.runtime.backends.sessions import open_session
from tests.models.test_dime_routes import DIRECTIONS, deployed_outputs, trained

WIDTH, OUT = 32, 16
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((OUT, WIDTH)).astype(np.float32)
BIAS = RNG.standard_normal(OUT).astype(np.float32)
X = RNG.standard_normal((2, 5, WIDTH)).astype(np.float32)
X[0, 1] = 0
X[1] *= 1000
PRODUCT = X @ WEIGHT.T


class Applied(nn.Module):
    """A function of an input and a weight, as a module of a graph."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], weight: np.ndarray) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def exported(function: Callable[[Tensor, Tensor], Tensor], weight: np.ndarray = WEIGHT) -> ir.Model:
    module = Applied(function, weight)
    inputs = (GraphTensor("x", torch.float32, ("groups", "texts", WIDTH)),)
    outputs = (GraphTensor("y", torch.float32, ("groups", "texts", len(weight))),)
    return to_onnx(Quantised(module), inputs, outputs, 20)


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    session = open_session(ir.to_proto(model).SerializeToString())
    return session.run(None, {"x": x})[0]


def kinds(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


def rounded() -> np.ndarray:
    """The product of the rounded operands, from their definition."""
    largest = np.maximum(np.abs(X).max(axis=-1, keepdims=True), 1e-30)
    values = np.round(X / largest * 127) / 127 * largest
    steps = np.abs(WEIGHT).max(axis=1, keepdims=True) / 127
    return values @ (np.round(WEIGHT / steps) * steps).T


@pytest.mark.parametrize(
    ("function", "added"),
    [
        (lambda x, w: functional.linear(x, w), 0),
        (lambda x, w: functional.linear(x, w, torch.from_numpy(BIAS)), BIAS),
        (lambda x, w: torch.addmm(x.flatten(0, 1)[:, :OUT], x.flatten(0, 1), w.t())
            .reshape(x.shape[0], x.shape[1], OUT), X[..., :OUT]),
    ],
    ids=["linear", "bias", "addmm"],
)  # fmt: skip
def test_both_operands_are_rounded_and_the_rest_is_added_exactly(
    function: Callable[[Tensor, Tensor], Tensor], added: np.ndarray
) -> None:
    model = exported(function)
    assert "MatMulIntegerToFloat" in kinds(model)
    got = run(model, X) - added
    size = np.maximum(np.abs(X).max(axis=-1, keepdims=True), 1)
    np.testing.assert_allclose(got / size, rounded() / size, atol=1e-5)
    assert 1e-3 < np.abs((got - PRODUCT) / size).max() < 0.3


def test_a_position_is_rounded_by_its_own_largest_value() -> None:
    model = exported(lambda x, w: functional.linear(x, w))
    together = run(model, X)
    assert np.array_equal(run(model, X[:1]), together[:1])


@pytest.mark.parametrize("mark", [full_precision, unquantised])
def test_what_is_marked_or_narrow_stays_float32(mark: Callable[..., Any]) -> None:
    @mark()
    def marked(x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight)

    for model in (exported(marked), exported(functional.linear, WEIGHT[:4])):
        assert not {"MatMulIntegerToFloat", "QuantizeLinear"} & kinds(model)
    np.testing.assert_allclose(run(exported(marked), X), PRODUCT, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_dimes_routers_are_not_rounded_and_other_layers_are(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded: set[int] = set()

    def product(x: Tensor, weight: Tensor) -> Tensor:
        rounded.add(weight.data_ptr())
        return x @ weight

    monkeypatch.setattr(quantised, "_product", product)
    deployed = trained(direction).deployed
    with quantised.quantised_products():
        deployed_outputs(deployed, direction)
    names = {n for n, weight in deployed.named_parameters() if weight.data_ptr() in rounded}
    assert names
    assert any(".router." in name for name, _ in deployed.named_parameters())
    assert not any(".router." in name for name in names)
