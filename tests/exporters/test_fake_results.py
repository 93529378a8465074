"""What is seen of an operator's result is what PyTorch finds by algebra."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itr_deploy.exporters import fake_results
from itr_deploy.exporters.fake_results import FakeResults, composite_rules
from itr_deploy.exporters.instead import instead_of_kernel
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
from tests.exporters.test_shortcuts import the_long_way
from tests.support.graph_form import form

WIDTH = 8
INPUTS = [
    GraphTensor("x", torch.float32, ("batch", "texts", "length", WIDTH)),
    GraphTensor("y", torch.float32, ("batch", "images", "regions", WIDTH)),
    GraphTensor("z", torch.float32, ("batch", "texts", "length", WIDTH)),
    GraphTensor("n", torch.int64, ("batch", "texts")),
]


class Products(nn.Module):
    """Matrices of two to four axes, with axes that are broadcast, and of equal symbols."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, y: Tensor, z: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        groups, texts, length, width = x.shape
        flat, flat_y = (
            x.reshape(groups, -1, width),
            y.reshape(groups, y.shape[1] * y.shape[2], width),
        )
        by_pair = flat @ flat_y.transpose(1, 2)
        outer = x.unsqueeze(2) @ y.unsqueeze(1).transpose(-1, -2)
        vector = x @ y.sum(dim=(1, 2))[0]
        rows = flat[:, 0] @ self.linear.weight.t()
        square = x @ z.transpose(2, 3)
        weights = by_pair.reshape(groups, texts, length, -1).permute(0, 2, 1, 3)
        many = weights.reshape(groups, length, texts, y.shape[1], y.shape[2])
        again = many.transpose(1, 2).reshape(groups * texts, length, -1)
        return outer, vector, rows, square, self.linear(x), again.squeeze(-1), outer.mean((1, 2))


class Elements(nn.Module):
    """What is made element by element, and sums of it."""

    def forward(self, x: Tensor, y: Tensor, z: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        short = torch.clamp(x, min=0.1).sqrt() + x.clamp(max=0.5) * x.clamp(-1, 1)
        both = torch.add(short, z, alpha=2) - z * 2 - z / 3.0 + 4
        other = x.unsqueeze(1) + z.unsqueeze(2)
        pairs = x[:, :, :, None, None] * y[:, None, None].sum(dim=-2, keepdim=True)
        real = torch.arange(x.shape[2]) < n.unsqueeze(-1)
        kept = torch.where(real.unsqueeze(-1), both, -30.0)
        halves = torch.where(real.unsqueeze(-1), both.half(), both.half() * 2)
        whole = n / 2 + n * n.sum(dim=1, keepdim=True) + (n * 0.5)
        one = kept.sum(dim=(-1, 1), keepdim=True).squeeze(1).squeeze(-1)
        wide = one[..., None].expand(-1, x.shape[2], 5) + x.mean() * torch.tensor(2.0)
        soft = torch.softmax(torch.nn.functional.leaky_relu(kept), -1) + torch.tanh(x).relu().exp()
        parts = torch.stack([kept, soft], dim=1).mean(dim=[1, -1]), x.transpose(1, 2) * 2
        seen = x.transpose(1, 2).view(x.shape[0], x.shape[2], x.shape[1], WIDTH)
        return other, pairs, halves, whole, wide, torch.sigmoid(soft), *parts, seen


MODULES = [Products, Elements]


def outputs(module: nn.Module) -> list[GraphTensor]:
    given = [torch.ones((2, 3, 4, WIDTH))] * 3 + [torch.ones((2, 3), dtype=torch.int64)]
    return [
        GraphTensor(f"out{number}", torch.float32, tuple(map(str, range(made.ndim))))
        for number, made in enumerate(module(*given))
    ]


@pytest.mark.parametrize("make", MODULES)
def test_a_graph_is_the_one_of_the_long_way(
    make: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make().eval()
    short = to_onnx(module, INPUTS, outputs(module), 20)
    with the_long_way(monkeypatch):
        long = to_onnx(module, INPUTS, outputs(module), 20)
    assert form(short) == form(long)


def test_every_result_is_the_one_that_pytorch_finds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: Counter[Any] = Counter()
    short, short_kernel = FakeResults.dispatch, FakeResults.kernel

    def dispatch(
        self: FakeResults, mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        asked: list[Any] = []
        usual = self._usual

        def noted(*given: Any) -> Any:
            asked.append(given)
            return usual(*given)

        self._usual = noted
        found = short(self, mode, func, types, args, kwargs)
        self._usual = usual
        if not asked:
            seen[func] += 1
            assert described(found) == described(usual(mode, func, types, args, kwargs or {})), func
        return found

    def kernel(self: FakeResults, rule: Any, usual: Any) -> Any:
        def compared(*given: Any) -> Any:
            found, expected = short_kernel(self, rule, failing)(*given), usual(*given)
            assert described(found) == described(expected)
            seen[rule] += 1
            return found

        def failing(*given: Any) -> Any:
            return usual(*given)

        return compared

    monkeypatch.setattr(FakeResults, "dispatch", dispatch)
    monkeypatch.setattr(FakeResults, "kernel", kernel)
    with caplog.at_level(logging.DEBUG, "itr_deploy.exporters"):
        for module in (Products().eval(), Elements().eval()):
            to_onnx(module, INPUTS, outputs(module), 20)
    assert not any("to be traced in full" in line for line in caplog.messages)
    assert seen.keys() == {*fake_results._rules(), *composite_rules().values()}


def described(tensor: Tensor) -> Any:
    return tuple(map(str, tensor.shape)), tensor.dtype, tensor.device, tensor.requires_grad


@pytest.mark.parametrize("operator", composite_rules(), ids=str)
def test_an_operator_is_made_as_before_when_a_trace_is_done(operator: Any) -> None:
    kernels = dict(operator.py_kernels)
    used: list[Any] = []

    @instead_of_kernel(operator, used.append)
    def failing() -> None:
        assert operator.py_kernels != kernels
        raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert operator.py_kernels == kernels
    assert callable(used[0])


def test_an_operator_that_is_kept_otherwise_goes_the_long_way() -> None:
    with instead_of_kernel(object(), lambda usual: usual):
        pass
