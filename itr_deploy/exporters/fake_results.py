"""What operators give in a trace, where their arguments' sizes tell it at once.

A trace runs every operator on tensors without values, and PyTorch finds a result's sizes and its
order in memory by algebra with symbols, a hundred steps for one. Of most operators of a matcher
they are seen: two sizes are the same symbols, or one of them is the number 1. A rule that sees
more than that has `None` to say, and PyTorch finds the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, TypeAlias

import sympy
import torch
from torch import SymInt, Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager

Size: TypeAlias = "int | SymInt"
Term: TypeAlias = "int | sympy.Expr"
Rule: TypeAlias = "Callable[..., Tensor | None]"

_CPU = torch.device("cpu")


class NotSeen(Exception):
    """A result is not seen by the sizes alone."""


class FakeResults:
    """Results of one trace.

    Attributes:
        usual: PyTorch's own way, `FakeTensorMode.dispatch`.
    """

    def __init__(self, usual: Callable[..., Any]) -> None:
        self.usual = usual
        self._strides: dict[tuple[Term, ...], tuple[Size, ...]] = {}
        self._simple: dict[sympy.Expr, bool] = {}
        self._in_order: dict[int, tuple[Tensor, bool]] = {}

    def dispatch(
        self, mode: FakeTensorMode, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """The result of an operator, as `FakeTensorMode.dispatch` gives it."""
        rule = _RULES.get(func)
        if rule is not None and not kwargs and all(_is_plain(mode, given) for given in args):
            try:
                return rule(self, mode, *args)
            except NotSeen:
                pass
        return self.usual(mode, func, types, args, kwargs or {})

    def terms(self, sizes: Iterable[Size]) -> tuple[Term, ...]:
        """Sizes as numbers and products of symbols.

        Raises:
            NotSeen: One is something else, of which PyTorch may know that it is 1.
        """
        return tuple(map(self._term, sizes))

    def _term(self, size: Size) -> Term:
        if isinstance(size, int):
            return size
        expression = size.node.expr
        simple = self._simple.get(expression)
        if simple is None:
            simple = self._simple[expression] = _is_product(expression)
        if not simple:
            raise NotSeen
        return expression

    def made(self, mode: FakeTensorMode, sizes: Sequence[Size], dtype: torch.dtype) -> Tensor:
        """A tensor of its own, in the usual order of memory."""
        meta = torch.empty(0, dtype=dtype, device="meta")
        return self._ordered(mode, meta.as_strided(sizes, self.strides(sizes)))

    def strides(self, sizes: Sequence[Size]) -> tuple[Size, ...]:
        """The steps in memory of the usual order."""
        key = self.terms(sizes)
        found = self._strides.get(key)
        if found is None:
            products: list[Size] = [1]
            for size in reversed(sizes[1:]):
                products.append(products[-1] * size)
            found = self._strides[key] = tuple(reversed(products[: len(sizes)]))
        return found

    def alias(
        self,
        mode: FakeTensorMode,
        tensor: Tensor,
        sizes: Sequence[Size],
        strides: Sequence[Size],
    ) -> Tensor:
        """The same memory with other sizes."""
        with in_kernel_invocation_manager(mode):
            meta = torch.ops.aten.as_strided.default(tensor, sizes, strides)
        return FakeTensor(mode, meta, device=_CPU)

    def ordered_alias(
        self, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """The same memory in the usual order with other sizes."""
        return self._noted(self.alias(mode, tensor, sizes, self.strides(sizes)))

    def is_in_order(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory in the usual order."""
        known = self._in_order.get(id(tensor))
        if known is None:
            found = torch._prims_common.is_contiguous_or_false(tensor)
            known = self._in_order[id(tensor)] = tensor, found
        return known[1]

    def _ordered(self, mode: FakeTensorMode, meta: Tensor) -> Tensor:
        return self._noted(FakeTensor(mode, meta, device=_CPU))

    def _noted(self, tensor: Tensor) -> Tensor:
        self._in_order[id(tensor)] = tensor, True
        return tensor


def _is_product(expression: sympy.Expr) -> bool:
    """Whether an expression is a product of sizes: at least 0, and of no number that is known."""
    factors = expression.args if expression.is_Mul else (expression,)
    return all(
        (factor.is_Symbol and factor.is_nonnegative)
        or (factor.is_Integer and factor > 0)
        or (factor.is_Pow and factor.args[0].is_Symbol and factor.args[1].is_Integer)
        for factor in factors
    ) and not expression.is_number


def _is_plain(mode: FakeTensorMode, given: Any) -> bool:
    """Whether an argument is no tensor, or one of this trace without values."""
    if not isinstance(given, Tensor):
        return not (isinstance(given, (list, tuple)) and any(isinstance(g, Tensor) for g in given))
    return (
        type(given) is FakeTensor
        and given.fake_mode is mode
        and given.constant is None
        and given.real_tensor is None
        and given.fake_device == _CPU
        and given.layout is torch.strided
    )


def _needs(seen: bool) -> None:
    if not seen:
        raise NotSeen


def _broadcast(results: FakeResults, shapes: Sequence[Sequence[Size]]) -> list[Size]:
    """The sizes of what tensors of these sizes make element by element."""
    sizes: list[Size] = []
    for along in zip_longest(*map(reversed, shapes), fillvalue=1):
        found, term = along[0], results._term(along[0])
        for size in along[1:]:
            other = results._term(size)
            if term == 1:
                found, term = size, other
            elif other != 1:
                _needs(other == term)
        sizes.append(found)
    return sizes[::-1]


def _is_number(given: Any) -> bool:
    return type(given) in (int, float)


def _elementwise(results: FakeResults, mode: FakeTensorMode, *operands: Any) -> Tensor:
    """Fractions of one type, and numbers."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    dtype = tensors[0].dtype
    _needs(dtype.is_floating_point)
    _needs(all(tensor.dtype == dtype for tensor in tensors))
    _needs(all(isinstance(o, Tensor) or _is_number(o) for o in operands))
    return results.made(mode, _broadcast(results, [t.shape for t in tensors]), dtype)


def _one(results: FakeResults, mode: FakeTensorMode, tensor: Tensor, *numbers: Any) -> Tensor:
    """A function of every element, with numbers or without."""
    _needs(all(number is None or _is_number(number) for number in numbers))
    return _elementwise(results, mode, tensor)


def _where(
    results: FakeResults, mode: FakeTensorMode, condition: Tensor, one: Tensor, other: Tensor
) -> Tensor:
    _needs(condition.dtype == torch.bool and one.dtype == other.dtype)
    shapes = [condition.shape, one.shape, other.shape]
    return results.made(mode, _broadcast(results, shapes), one.dtype)


def _reduced(
    results: FakeResults,
    mode: FakeTensorMode,
    tensor: Tensor,
    axes: Sequence[int] | None = None,
    keep: bool = False,
) -> Tensor:
    """A sum or a mean over some axes."""
    _needs(tensor.dtype.is_floating_point and bool(axes) and tensor.ndim > 0)
    gone = {axis % tensor.ndim for axis in axes or ()}
    sizes = [
        1 if axis in gone else size
        for axis, size in enumerate(tensor.shape)
        if keep or axis not in gone
    ]
    return results.made(mode, sizes, tensor.dtype)


def _softmax(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, axis: int, half: bool
) -> Tensor:
    _needs(not half)
    return _elementwise(results, mode, tensor)


def _bmm(results: FakeResults, mode: FakeTensorMode, one: Tensor, other: Tensor) -> Tensor:
    """A product of matrices, or of as many matrices on both sides."""
    (*many, rows, inner), (*as_many, same, columns) = one.shape, other.shape
    _needs(one.dtype == other.dtype and one.dtype.is_floating_point)
    _needs(results.terms((*many, inner)) == results.terms((*as_many, same)))
    return results.made(mode, [*many, rows, columns], one.dtype)


def _addmm(
    results: FakeResults, mode: FakeTensorMode, bias: Tensor, one: Tensor, other: Tensor
) -> Tensor:
    _needs(bias.ndim == 1 and bias.dtype == one.dtype)
    _needs(results._term(bias.shape[0]) == results._term(other.shape[1]))
    return _bmm(results, mode, one, other)


def _view(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]
) -> Tensor:
    _needs(tensor.ndim > 0 and len(sizes) > 0)
    have, wanted = results.terms(tensor.shape), results.terms(sizes)
    _needs(all(not isinstance(size, int) or size > 0 for size in (*have, *wanted)))
    _needs(have == wanted or math.prod(have) == math.prod(wanted))
    _needs(results.is_in_order(tensor))
    return results.ordered_alias(mode, tensor, sizes)


def _expand(
    results: FakeResults,
    mode: FakeTensorMode,
    tensor: Tensor,
    sizes: Sequence[Size],
) -> Tensor:
    have = (1,) * (len(sizes) - tensor.ndim) + tuple(tensor.shape)
    steps = (0,) * (len(sizes) - tensor.ndim) + tuple(tensor.stride())
    found: list[Size] = []
    strides: list[Size] = []
    for size, step, wanted in zip(have, steps, sizes, strict=True):
        term = results._term(size)
        same = (isinstance(wanted, int) and wanted == -1) or results._term(wanted) == term
        _needs(same or term == 1)
        found.append(size if same else wanted)
        strides.append(step if same else 0)
    made = results.alias(mode, tensor, found, strides)
    if results.terms(found) == results.terms(tensor.shape) and results.is_in_order(tensor):
        results._noted(made)
    return made


_ATEN = torch.ops.aten
_RULES: dict[Any, Rule] = {
    **{
        operator.Tensor: _elementwise
        for operator in (_ATEN.add, _ATEN.sub, _ATEN.mul, _ATEN.div)
    },
    **{
        operator.default: _one
        for operator in (
            _ATEN.sqrt, _ATEN.tanh, _ATEN.sigmoid, _ATEN.leaky_relu, _ATEN.clamp, _ATEN.clamp_min,
            _ATEN.relu, _ATEN.exp, _ATEN.neg, _ATEN.abs, _ATEN.log, _ATEN.rsqrt,
        )
    },
    _ATEN.where.self: _where,
    _ATEN.sum.dim_IntList: _reduced,
    _ATEN.mean.dim: _reduced,
    _ATEN._softmax.default: _softmax,
    _ATEN.bmm.default: _bmm,
    _ATEN.mm.default: _bmm,
    _ATEN.addmm.default: _addmm,
    _ATEN.view.default: _view,
    _ATEN._unsafe_view.default: _view,
    _ATEN.expand.default: _expand,
}  # fmt: skip
