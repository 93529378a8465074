"""What operators give in a trace, where their arguments' sizes tell it at once.

A trace runs every operator on tensors without values, and PyTorch finds a result's sizes and its
order in memory by algebra with symbols, for most of a trace's time. Of nearly all operators of a
matcher they are plain: two sizes are the same product of symbols, or one of them is the number 1.
Where a rule sees less than that, PyTorch finds the result, and what it assumes of the sizes.

In which order a result lies in memory leaves no mark on a graph: it is the usual one wherever
PyTorch makes a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, TypeAlias

import torch
from torch import SymInt, Tensor
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental import proxy_tensor

Size: TypeAlias = "int | SymInt"
Term: TypeAlias = Any
"""A size as a number or as an expression of sympy."""
Rule: TypeAlias = "Callable[..., Tensor]"

_CPU = torch.device("cpu")


class NotSeenError(Exception):
    """The sizes alone do not tell a result."""


class FakeResults:
    """Results of the operators of one trace.

    Args:
        usual: PyTorch's own way, `FakeTensorMode.dispatch`.
    """

    def __init__(self, usual: Callable[..., Any]) -> None:
        self._usual = usual
        self._rules = _rules()
        self._strides: dict[tuple[Term, ...], tuple[Size, ...]] = {}
        self._products: dict[Any, bool] = {}
        self._in_order: dict[int, tuple[Tensor, bool]] = {}  # tensors live on: ids stay theirs

    def dispatch(
        self, mode: FakeTensorMode, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """The result of an operator, as `FakeTensorMode.dispatch` gives it."""
        rule = self._rules.get(func)
        if rule is not None and not kwargs and all(_is_plain(mode, given) for given in args):
            try:
                return rule(self, mode, *args)
            except NotSeenError:
                pass
        return self._usual(mode, func, types, args, kwargs or {})

    def kernel(self, rule: Rule, usual: Callable[..., Any]) -> Callable[..., Any]:
        """The kernel of an operator that consists of others, but is noted in the trace itself.

        Args:
            rule: Gives its result.
            usual: PyTorch's kernel, which calls the others.
        """

        def kernel(*args: Any, **kwargs: Any) -> Any:
            mode = getattr(args[0], "fake_mode", None) if args else None
            noted = proxy_tensor.get_proxy_mode() is None  # or the others would be noted
            if mode is not None and noted and not kwargs:
                try:
                    _needs(all(_is_plain(mode, given) for given in args))
                    with fake_tensor.unset_fake_temporarily():
                        return rule(self, mode, *args)
                except NotSeenError:
                    pass
            return usual(*args, **kwargs)

        return kernel

    def made(self, mode: FakeTensorMode, sizes: Sequence[Size], dtype: torch.dtype) -> Tensor:
        """A tensor of its own, in the usual order of memory."""
        meta = torch.empty(0, dtype=dtype, device="meta")
        found = meta.as_strided(sizes, self._strides_of(sizes))
        return self._noted(FakeTensor(mode, found, device=_CPU), in_order=True)

    def alias(
        self, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size], steps: Sequence[Size]
    ) -> Tensor:
        """A tensor's memory with other sizes, and other steps from element to element."""
        with fake_tensor.in_kernel_invocation_manager(mode):
            meta = torch.ops.aten.as_strided.default(tensor, sizes, steps)
        return FakeTensor(mode, meta, device=_CPU)

    def view(self, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The memory of a tensor in the usual order with other sizes."""
        made = self.alias(mode, tensor, sizes, self._strides_of(sizes))
        return self._noted(made, in_order=True)

    def terms(self, sizes: Iterable[Size]) -> tuple[Term, ...]:
        """Sizes in a form that can be compared.

        Raises:
            NotSeenError: One is neither a number nor a product of symbols.
        """
        return tuple(map(self.term, sizes))

    def term(self, size: Size) -> Term:
        """A size in a form that can be compared.

        Raises:
            NotSeenError: It is neither a number nor a product of symbols.
        """
        if isinstance(size, int):
            return size
        expression = size.node.expr
        product = self._products.get(expression)
        if product is None:
            product = self._products[expression] = _is_product(expression)
        _needs(product)
        return expression

    def is_in_order(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory in the usual order."""
        known = self._in_order.get(id(tensor))
        if known is None:
            sizes, steps = self.terms(tensor.shape), self.terms(tensor.stride())
            usual = self.terms(self._strides_of(tensor.shape))
            found = all(
                size == 1 or step == own
                for size, step, own in zip(sizes, steps, usual, strict=True)
            )
            self._noted(tensor, found)
            return found
        return known[1]

    def _noted(self, tensor: Tensor, in_order: bool) -> Tensor:
        self._in_order[id(tensor)] = tensor, in_order
        return tensor

    def _strides_of(self, sizes: Sequence[Size]) -> tuple[Size, ...]:
        """The steps from element to element in the usual order."""
        key = self.terms(sizes)
        found = self._strides.get(key)
        if found is None:
            steps: list[Size] = [1]
            for size in reversed(sizes[1:]):
                steps.append(steps[-1] * size)
            found = self._strides[key] = tuple(reversed(steps[: len(sizes)]))
        return found


def _is_product(expression: Any) -> bool:
    """Whether an expression is a product of symbols of sizes, so that nobody knows it to be 1."""
    factors = expression.args if expression.is_Mul else (expression,)
    return not expression.is_number and all(
        (factor.is_Integer and factor > 0)
        or (factor.is_Symbol and factor.is_nonnegative)
        or (
            factor.is_Pow
            and factor.base.is_nonnegative
            and factor.exp.is_Integer
            and factor.exp > 0
        )
        for factor in factors
    )


def _is_plain(mode: FakeTensorMode, given: Any) -> bool:
    """Whether an argument is a tensor of this trace whose values nobody knows, or no tensor."""
    if isinstance(given, Tensor):
        return (
            type(given) is FakeTensor
            and given.fake_mode is mode
            and given.constant is None
            and given.real_tensor is None
            and given.fake_device == _CPU
            and given.layout is torch.strided
        )
    return not isinstance(given, (list, tuple)) or not any(isinstance(g, Tensor) for g in given)


def _needs(seen: bool) -> None:
    if not seen:
        raise NotSeenError


def _are_fractions(*tensors: Tensor) -> bool:
    """Whether all are of one type, which every operator keeps."""
    dtype = tensors[0].dtype
    return dtype.is_floating_point and all(tensor.dtype == dtype for tensor in tensors)


def _is_number(given: Any) -> bool:
    return type(given) in (int, float)


def _broadcast(results: FakeResults, *shapes: Sequence[Size]) -> list[Size]:
    """The sizes of what tensors of these sizes make element by element."""
    sizes: list[Size] = []
    for along in zip_longest(*map(reversed, shapes), fillvalue=1):
        found: Size = 1
        for size in along:
            known, term = results.term(found), results.term(size)
            _needs(known == term or known == 1 or term == 1)
            found = size if known == 1 else found
        sizes.append(found)
    return sizes[::-1]


def _elementwise(results: FakeResults, mode: FakeTensorMode, *operands: Any) -> Tensor:
    """Of fractions and numbers."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    _needs(_are_fractions(*tensors))
    _needs(all(isinstance(one, Tensor) or _is_number(one) for one in operands))
    sizes = _broadcast(results, *(tensor.shape for tensor in tensors))
    return results.made(mode, sizes, tensors[0].dtype)


def _one(results: FakeResults, mode: FakeTensorMode, tensor: Tensor, *numbers: Any) -> Tensor:
    """Of every element of a tensor of fractions."""
    return _elementwise(results, mode, tensor, *(one for one in numbers if one is not None))


def _softmax(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, axis: int, widened: bool
) -> Tensor:
    _needs(not widened)
    return _elementwise(results, mode, tensor)


def _where(
    results: FakeResults, mode: FakeTensorMode, condition: Tensor, one: Tensor, other: Tensor
) -> Tensor:
    _needs(condition.dtype == torch.bool and one.dtype == other.dtype)
    return results.made(
        mode, _broadcast(results, condition.shape, one.shape, other.shape), one.dtype
    )


def _reduced(
    results: FakeResults,
    mode: FakeTensorMode,
    tensor: Tensor,
    axes: Sequence[int] | None = None,
    keep: bool = False,
) -> Tensor:
    """A sum or a mean of fractions over some axes."""
    _needs(_are_fractions(tensor) and tensor.ndim > 0 and bool(axes))
    gone = {axis % tensor.ndim for axis in axes or ()}
    sizes = [
        1 if axis in gone else size
        for axis, size in enumerate(tensor.shape)
        if keep or axis not in gone
    ]
    return results.made(mode, sizes, tensor.dtype)


def _matmul(results: FakeResults, mode: FakeTensorMode, one: Tensor, other: Tensor) -> Tensor:
    """Products of matrices, whose other axes are broadcast."""
    _needs(_are_fractions(one, other) and one.ndim > 1 and other.ndim > 1)
    (*many, rows, inner), (*as_many, same, columns) = one.shape, other.shape
    _needs(results.term(inner) == results.term(same))
    return results.made(mode, [*_broadcast(results, many, as_many), rows, columns], one.dtype)


def _bmm(results: FakeResults, mode: FakeTensorMode, one: Tensor, other: Tensor) -> Tensor:
    """As many products as there are matrices on either side."""
    _needs(results.terms(one.shape[:-2]) == results.terms(other.shape[:-2]))
    return _matmul(results, mode, one, other)


def _addmm(
    results: FakeResults, mode: FakeTensorMode, bias: Tensor, one: Tensor, other: Tensor
) -> Tensor:
    _needs(_are_fractions(bias, one) and bias.ndim == 1)
    _needs(results.term(bias.shape[0]) == results.term(other.shape[1]))
    return _bmm(results, mode, one, other)


def _same_count(results: FakeResults, tensor: Tensor, sizes: Sequence[Size]) -> None:
    """Need that a tensor has as many elements as one of other sizes, and both have axes."""
    have, wanted = results.terms(tensor.shape), results.terms(sizes)
    _needs(bool(have) and bool(wanted))
    _needs(all(not isinstance(size, int) or size > 0 for size in (*have, *wanted)))
    _needs(have == wanted or math.prod(have) == math.prod(wanted))


def _view(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]
) -> Tensor:
    _same_count(results, tensor, sizes)
    _needs(results.is_in_order(tensor))
    return results.view(mode, tensor, sizes)


def _reshaped(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]
) -> Tensor:
    """The same memory, or a copy where another order does not let it be."""
    _same_count(results, tensor, sizes)
    if results.is_in_order(tensor):
        return results.view(mode, tensor, sizes)
    return results.made(mode, sizes, tensor.dtype)


def _expanded(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, sizes: Sequence[Size]
) -> Tensor:
    more = len(sizes) - tensor.ndim
    have = [*[1] * more, *results.terms(tensor.shape)]
    found, steps = list(sizes), [*[0] * more, *tensor.stride()]
    for axis, size in enumerate(sizes):
        if have[axis] == results.term(size):
            continue
        _needs(have[axis] == 1 and not (isinstance(size, int) and size < 0))
        found[axis], steps[axis] = size, 0
    return results.alias(mode, tensor, found, steps)


def _permuted(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, axes: Sequence[int]
) -> Tensor:
    sizes, steps = tensor.shape, tensor.stride()
    own, along = [sizes[axis] for axis in axes], [steps[axis] for axis in axes]
    return results.alias(mode, tensor, own, along)


def _transposed(
    results: FakeResults, mode: FakeTensorMode, tensor: Tensor, one: int = 0, other: int = 1
) -> Tensor:
    _needs(tensor.ndim > 1)
    axes = list(range(tensor.ndim))
    axes[one], axes[other] = axes[other], axes[one]
    return _permuted(results, mode, tensor, axes)


def _unsqueezed(results: FakeResults, mode: FakeTensorMode, tensor: Tensor, axis: int) -> Tensor:
    place = axis % (tensor.ndim + 1)
    sizes: list[Size] = list(tensor.shape)
    steps: list[Size] = list(tensor.stride())
    step = steps[place] * sizes[place] if place < tensor.ndim else 1
    return results.alias(
        mode,
        tensor,
        [*sizes[:place], 1, *sizes[place:]],
        [*steps[:place], step, *steps[place:]],
    )


def _squeezed(results: FakeResults, mode: FakeTensorMode, tensor: Tensor, axis: int) -> Tensor:
    _needs(tensor.ndim > 0)
    place = axis % tensor.ndim
    _needs(results.term(tensor.shape[place]) == 1)
    kept = [other for other in range(tensor.ndim) if other != place]
    return _permuted(results, mode, tensor, kept)


@cache
def _rules() -> dict[Any, Rule]:
    """The rules of operators, which have no other effect than their result."""
    aten = torch.ops.aten
    return {
        **dict.fromkeys(
            (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor), _elementwise
        ),
        **dict.fromkeys(
            (
                aten.clamp.default,
                aten.exp.default,
                aten.leaky_relu.default,
                aten.relu.default,
                aten.sigmoid.default,
                aten.sqrt.default,
                aten.tanh.default,
            ),
            _one,
        ),
        aten._softmax.default: _softmax,
        aten.where.self: _where,
        aten.sum.dim_IntList: _reduced,
        aten.mean.dim: _reduced,
        aten.bmm.default: _bmm,
        aten.mm.default: _bmm,
        aten.addmm.default: _addmm,
        aten.view.default: _view,
        aten._unsafe_view.default: _view,
        aten.expand.default: _expanded,
        aten.permute.default: _permuted,
        aten.transpose.int: _transposed,
        aten.t.default: _transposed,
        aten.unsqueeze.default: _unsqueezed,
        aten.squeeze.dim: _squeezed,
    }


@cache
def composite_rules() -> dict[Any, Rule]:
    """The rules of operators that consist of others, see `FakeResults.kernel`."""
    aten = torch.ops.aten
    return {aten.matmul.default: _matmul, aten.reshape.default: _reshaped}
