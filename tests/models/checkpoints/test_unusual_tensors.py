"""Tensors that do not simply lie in memory, and numbers that float32 cannot hold, are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from itr_deploy.models.imram.checkpoint import load
from tests.models.checkpoints.test_reading import refusal
from tests.support.imram import golden_checkpoint, write_checkpoint

NAME = "txt_enc.embed.weight"


def weight() -> Tensor:
    return golden_checkpoint()["model"][f"module.{NAME}"].clone()


def quantised(value: Tensor) -> Tensor:
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def jagged(value: Tensor) -> Tensor:
    return torch.nested.nested_tensor([value, value[:2]], layout=torch.jagged)


def nested(value: Tensor) -> Tensor:
    return torch.nested.nested_tensor([value, value[:2]])


def spread(value: Tensor) -> Tensor:
    return value[:1, :1].clone().expand(value.shape)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (quantised, ("quantised", ".dequantize()")),
        (Tensor.to_sparse, ("sparse", ".to_dense()")),
        (Tensor.to_sparse_csr, ("sparse", ".to_dense()")),
        (lambda value: value.to("meta"), ("meta tensor", "trained")),
        (lambda value: torch.complex(value, value).conj(), ("complex",)),
        (nested, ("nested",)),
        (jagged, ()),
        (spread, ("made of fewer", ".clone()")),
        (lambda value: value.long(), ("int64", ".float()")),
        (lambda value: value > 0, ("bool", ".float()")),
        (lambda value: value.to(torch.float8_e4m3fn), ("float8_e4m3fn", ".float()")),
        (lambda value: value[0, 0].expand(10**9, 10**6), ("made of fewer",)),
        (lambda value: value[0, 0], ("shape []",)),
    ],
)
def test_an_unusual_tensor_is_named(
    change: Callable[[Tensor], Tensor], words: tuple[str, ...], tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "odd.tar", weights={NAME: change(weight())})
    message = refusal(path)
    for word in words:
        assert word in message


def test_a_number_that_overflows_float32_is_named(tmp_path: Path) -> None:
    value = weight().double()
    value[1, 2] = 1e300
    message = refusal(write_checkpoint(tmp_path / "large.tar", weights={NAME: value}))
    assert f"{NAME} holds 1e+300" in message
    assert "float32" in message


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_doubles_that_are_not_finite_are_named(number: float, tmp_path: Path) -> None:
    value = weight().double()
    value[1, 2] = number
    message = refusal(write_checkpoint(tmp_path / "nan.tar", weights={NAME: value}))
    assert "NaN or infinity" in message


def test_a_negated_view_is_taken_with_its_values(tmp_path: Path) -> None:
    value = weight()
    negated = torch.complex(value, -value).conj().imag
    assert negated.is_neg()
    loaded = load(write_checkpoint(tmp_path / "neg.tar", weights={NAME: negated}))
    torch.testing.assert_close(loaded.plain.state_dict()[NAME], value, rtol=0, atol=0)
