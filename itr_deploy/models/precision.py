"""Half precision where it is safe: in matrix products only.

Under `matrix_precision` the operands of every product are rounded to the half type and the result
is float32 again, so that norms and their epsilons, softmax, the routers' divisions, cosines, layer
norms and sums stay float32 without any work in a family. A family marks the products that half
precision breaks with `full_precision`. PyTorch runs what is exported: the types are in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from itr_deploy.bundle.manifest import Precision

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

product_dtype: ContextVar[torch.dtype] = ContextVar("product_dtype", default=torch.float32)
"""The type in which products are currently computed."""


@contextmanager
def products_in(dtype: torch.dtype) -> Iterator[None]:
    """Set `product_dtype`, which the interceptors of products read."""
    token = product_dtype.set(dtype)
    try:
        yield
    finally:
        product_dtype.reset(token)


@contextmanager
def matrix_precision(precision: Precision) -> Iterator[None]:
    """Compute matrix products, linear layers and convolutions in this type.

    Weights and activations stay float32 outside the products. Unknown kinds of product raise
    `NotImplementedError`, so that none silently stays float32.
    """
    if precision == "float32":
        yield
        return
    with products_in(DTYPES[precision]), _Products():
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """Within `matrix_precision` and `quantised_products`, keep products in float32."""
    with products_in(torch.float32):
        yield


def recurrent_dtype(full: torch.dtype) -> torch.dtype:
    """Type of a recurrent cell: TensorRT supports float16 here, but not bfloat16."""
    return torch.float16 if product_dtype.get() == torch.float16 else full


class _Products(TorchFunctionMode):
    """Intercepts the products; inactive inside a handler."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        dtype = product_dtype.get()
        if dtype == torch.float32:
            return func(*args, **kwargs)
        if func in _UNKNOWN:
            raise NotImplementedError(f"{func.__name__} has no half-precision form here")
        if func not in _HALVED:
            return func(*args, **kwargs)
        return _HALVED[func](dtype, *args, **kwargs)


def _matmul(dtype: torch.dtype, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a.to(dtype), b.to(dtype)).float()


def _addmm(dtype: torch.dtype, summand: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return summand + _matmul(dtype, a, b)


def _linear(dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = functional.linear(x.to(dtype), weight.to(dtype)).float()
    return product if bias is None else product + bias


def _convolution(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def halved(
        dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any
    ) -> Tensor:
        product = convolve(x.to(dtype), weight.to(dtype), None, *options).float()
        return product if bias is None else product + bias.reshape(-1, *[1] * (weight.ndim - 2))

    return halved


_HALVED: dict[Any, Callable[..., Tensor]] = {
    torch.matmul: _matmul,
    torch.bmm: _matmul,
    Tensor.matmul: _matmul,
    Tensor.__matmul__: _matmul,
    torch.addmm: _addmm,
    functional.linear: _linear,
    functional.conv1d: _convolution(functional.conv1d),
    functional.conv2d: _convolution(functional.conv2d),
}

_UNKNOWN: frozenset[Any] = frozenset(
    {
        torch.mm,
        torch.mv,
        torch.dot,
        torch.inner,
        torch.addmv,
        torch.addbmm,
        torch.baddbmm,
        torch.einsum,
        torch.tensordot,
        torch.gru,
        functional.conv3d,
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.bilinear,
        functional.scaled_dot_product_attention,
        Tensor.mm,
        Tensor.mv,
        Tensor.dot,
        Tensor.bmm,
        Tensor.addmm,
        Tensor.baddbmm,
        Tensor.__rmatmul__,
    }
)
