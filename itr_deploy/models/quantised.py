"""int8 products on the CPU, for a matcher's Linears: the work that remains per pair.

Under `quantised_products` both operands of a Linear are rounded to 8 bits. Each position is scaled
by its own largest value, so a score does not depend on what else is scored with it. With one scale
per call, as in ONNX Runtime's own dynamic quantisation, it would. Everything between the products
is float32, and so is what `full_precision` or `unquantised` marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from itr_deploy.models.precision import product_dtype, products_in

LEVELS = 127
"""Largest level of a value (stored as uint8, 128 being 0) and of a weight (stored as int8)."""

PRODUCT = "MatMulIntegerToFloat"
"""ONNX Runtime's operator for the products."""

NARROWEST = 8
"""A Linear with fewer inputs or outputs is not worth the rounding."""

TINY = 1e-30
"""Smallest divisor; a row of zeros stays zero."""


@contextmanager
def quantised_products() -> Iterator[None]:
    """Compute Linears and `torch.addmm` in int8. For export only: PyTorch cannot run them."""
    with products_in(torch.int8), _Products():
        yield


@contextmanager
def unquantised() -> Iterator[None]:
    """Within `quantised_products`, keep products in float32; half precision still applies."""
    dtype = product_dtype.get()
    with products_in(torch.float32 if dtype == torch.int8 else dtype):
        yield


class _Products(TorchFunctionMode):
    """Intercepts the products; inactive inside a handler."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        marked = product_dtype.get() == torch.float32
        handler = func if marked else _QUANTISED.get(func, func)
        return handler(*args, **(kwargs or {}))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if min(weight.shape) < NARROWEST:
        return functional.linear(x, weight, bias)
    product = _product(x, weight.t())
    return product if bias is None else product + bias


def _addmm(summand: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return summand + _product(a, b)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """``x [..., K] @ weight [K, N]``, with a constant weight."""
    largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=TINY)
    columns = weight.abs().amax(dim=0).clamp(min=TINY) / LEVELS
    levels = torch.round(weight / columns).to(torch.int8)
    scale, zero = x.new_tensor(1 / LEVELS), torch.tensor(128, dtype=torch.uint8)
    rounded = torch.onnx.ops.symbolic(
        "QuantizeLinear", (x / largest, scale, zero), dtype=torch.uint8, shape=x.shape
    )
    # ONNX's MatMulInteger would need three more passes over its result for the same.
    product = torch.onnx.ops.symbolic(
        f"com.microsoft::{PRODUCT}",
        (rounded, levels, scale, columns, zero),
        dtype=torch.float32,
        shape=(*x.shape[:-1], weight.shape[1]),
        version=1,
    )
    return product * largest


_QUANTISED: dict[Any, Callable[..., Tensor]] = {
    functional.linear: _linear,
    torch.addmm: _addmm,
}
