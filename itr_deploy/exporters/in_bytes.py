"""Graphs that choose candidates, with their products of bytes; made from the float32 ones.

They read a gallery's tensors as `itr_deploy.runtime.gallery.in_bytes` holds them in memory: bytes
around `ZERO`, and one scale per vector. The other side of a product is rounded in the graph, each
row by its own largest value, so that a score does not depend on what is scored with it. A CPU with
VNNI multiplies four times as many bytes as floats, and hardly anything is widened.

Two kinds of products are with a gallery's vectors ``[.., rows, width]``:

- over the width, as for affinities. The vectors become the left side: ONNX Runtime is fast for
  unsigned bytes there, and what it brings into another order is the smaller side. Their scales are
  multiplied to the result.
- over the rows, as for what is attended. Their scales are multiplied to the weights, before these
  are rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from itr_deploy.exporters.storage import add_scales
from itr_deploy.runtime.encoding.storage import LEVELS, ZERO

FLOAT, INT8, INT32, INT64, UINT8 = (
    ir.TensorType(ir.DataType[name]) for name in ("FLOAT", "INT8", "INT32", "INT64", "UINT8")
)
SIGNED_LEVELS = 64
"""The largest number that the other side is rounded to where it becomes int8.

On x86 without VNNI, ONNX Runtime adds two products of bytes by such numbers in 16 bits, which
saturate; two of 255 by 64 fit. Its exact form (`itr_deploy.runtime.backends.sessions`) is for
constants alone. Searches there read floats, but the gate and `verify` run these graphs anywhere.
"""
_FLATTENING = ("Reshape", "Squeeze", "Unsqueeze")


def with_byte_gallery(model: ir.Model, gallery_inputs: Sequence[str]) -> ir.Model | None:
    """A copy of ``model`` whose gallery inputs are ``uint8``, each followed by one of its scales.

    An input ``[gallery, positions, width]`` has scales ``float32 [gallery, positions]``.

    Args:
        model: A graph that scores pairs, with float32 gallery inputs.
        gallery_inputs: Names of those inputs.

    Returns:
        None if anything but products reads one of them.
    """
    made = model.clone()
    graph = made.graph
    for value in [given for given in graph.inputs if given.name in gallery_inputs]:
        gathers = [node for node, _ in value.uses() if node.op_type != "Shape"]
        products = [one for gather in gathers for one in _products(gather)]
        scales = add_scales(graph, value)
        value.type = UINT8
        for one in products:
            if one is None:
                return None
            for moved in one.moved:
                moved.type = UINT8
            _Writer(graph, one).write(scales)
    RemoveUnusedNodesPass()(made)
    CommonSubexpressionEliminationPass()(made)
    return made


class _Product(NamedTuple):
    """A product with a gallery's vectors.

    Attributes:
        node: The ``MatMul``.
        gather: What gathers the candidates' vectors.
        moved: What was gathered, in the forms up to that of the product, but for a transposition.
        left: Whether the vectors are its left side.
        over_rows: Whether it is over their rows; they are its right side then.
    """

    node: ir.Node
    gather: ir.Node
    moved: tuple[ir.Value, ...]
    left: bool
    over_rows: bool

    @property
    def vectors(self) -> ir.Value:
        """``[.., rows, width]``."""
        return self.moved[-1]


def _products(gather: ir.Node) -> Iterator[_Product | None]:
    """The products that read what is gathered; None for anything else that reads it."""
    if gather.op_type == "Gather":
        yield from _readers(gather, (gather.outputs[0],))
    else:
        yield None


def _readers(gather: ir.Node, moved: tuple[ir.Value, ...]) -> Iterator[_Product | None]:
    vectors = moved[-1]
    if vectors.shape is None or vectors.shape[-1] != moved[0].shape[-1]:  # type: ignore[index]
        yield None
        return
    for node, place in list(vectors.uses()):
        if node.op_type in _FLATTENING and place == 0:
            yield from _readers(gather, (*moved, node.outputs[0]))
        elif node.op_type == "MatMul":
            yield _Product(node, gather, moved, left=place == 0, over_rows=place == 1)
        elif node.op_type == "Transpose" and _swaps_last(node):
            for product, side in list(node.outputs[0].uses()):
                across = product.op_type == "MatMul" and side == 1
                yield (
                    _Product(product, gather, moved, left=False, over_rows=False)
                    if across
                    else None
                )
        elif node.op_type != "Shape":
            yield None


def _swaps_last(transpose: ir.Node) -> bool:
    order = list(transpose.attributes["perm"].as_ints())
    return order == _swapped(len(order))


def _swapped(axes: int) -> list[int]:
    return [*range(axes - 2), axes - 1, axes - 2]


class _Writer:
    """Writes one product in bytes in front of the one that it replaces."""

    def __init__(self, graph: ir.Graph, product: _Product) -> None:
        self._graph, self._product = graph, product
        self._name = str(product.node.outputs[0].name)
        assert product.vectors.shape is not None
        self._axes = len(product.vectors.shape)

    def write(self, scales: ir.Value) -> None:
        """Replace the product, of vectors with these scales."""
        before = self._product.node.outputs[0]
        made = self._over_rows(scales) if self._product.over_rows else self._over_width(scales)
        made.shape = before.shape
        before.replace_all_uses_with(made)

    def _over_width(self, scales: ir.Value) -> ir.Value:
        product, order = self._product, _swapped(self._axes)
        other = product.node.inputs[1 if product.left else 0]
        assert other is not None
        scale = self._scale(other, -2 if product.left else -1, SIGNED_LEVELS)
        rounded = self._add(
            "Round", [self._add("Div", [other, scale], "exact", FLOAT)], "rounded", FLOAT
        )
        numbers = self._add("Cast", [rounded], "numbers", INT8, to=ir.DataType.INT8.value)
        if not product.left:
            numbers = self._add("Transpose", [numbers], "numbers_across", INT8, perm=order)
            scale = self._add("Transpose", [scale], "scale_across", FLOAT, perm=order)
        sums = self._sums([product.vectors, numbers, self._zero()])
        by_row = self._add("Mul", [sums, self._of_rows(scales)], "by_row", FLOAT)
        found = self._add("Mul", [by_row, scale], "in_bytes", FLOAT)
        if product.left:
            return found
        return self._add("Transpose", [found], "in_bytes_across", FLOAT, perm=order)

    def _over_rows(self, scales: ir.Value) -> ir.Value:
        product, order = self._product, _swapped(self._axes)
        weights = product.node.inputs[0]
        own = self._add("Transpose", [self._of_rows(scales)], "row_scale_across", FLOAT, perm=order)
        scaled = self._add("Mul", [weights, own], "weights", FLOAT)
        scale = self._scale(scaled, -1, LEVELS)
        exact = self._add("Div", [scaled, scale], "exact", FLOAT)
        rounded = self._add("Round", [exact], "rounded", FLOAT)
        zero = self._constant("zero", np.float32(ZERO), FLOAT)
        shifted = self._add("Add", [rounded, zero], "shifted", FLOAT)
        numbers = self._add("Cast", [shifted], "numbers", UINT8, to=ir.DataType.UINT8.value)
        sums = self._sums([numbers, product.vectors, self._zero(), self._zero()])
        return self._add("Mul", [sums, scale], "in_bytes", FLOAT)

    def _sums(self, inputs: Sequence[ir.Value | None]) -> ir.Value:
        sums = self._add("MatMulInteger", inputs, "sums", INT32)
        return self._add("Cast", [sums], "widened", FLOAT, to=ir.DataType.FLOAT.value)

    def _zero(self) -> ir.Value:
        return self._constant("zero_byte", np.uint8(ZERO), UINT8)

    def _scale(self, values: ir.Value, axis: int, most: int) -> ir.Value:
        """What one of ``most`` levels of the vectors along an axis is, which is 1 then."""
        along = self._constant(f"axis_minus_{-axis}", np.array([axis], np.int64), INT64)
        levels = self._constant(f"levels_{most}", np.float32(most), FLOAT)
        # Zeros stay zeros.
        least = self._constant("least_scale", np.finfo(np.float32).tiny, FLOAT)
        sizes = self._add("Abs", [values], "sizes", FLOAT)
        peak = self._add("ReduceMax", [sizes, along], "peak", FLOAT, keepdims=1)
        level = self._add("Div", [peak, levels], "level", FLOAT)
        return self._add("Max", [level, least], "scale", FLOAT)

    def _of_rows(self, scales: ir.Value) -> ir.Value:
        """The candidates' scales ``[.., rows, 1]``."""
        gather, vectors = self._product.gather, self._product.vectors
        axis = gather.attributes.get_int("axis", 0)
        own = self._add("Gather", [scales, gather.inputs[1]], "row_scales", FLOAT, axis=axis)
        sizes = self._add("Shape", [vectors], "row_sizes", INT64, start=0, end=self._axes - 1)
        one = self._constant("one", np.array([1], np.int64), INT64)
        shape = self._add("Concat", [sizes, one], "row_shape", INT64, axis=0)
        return self._add("Reshape", [own, shape], "row_scale", FLOAT)

    def _add(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        suffix: str,
        type_: ir.TensorType,
        **attributes: Any,
    ) -> ir.Value:
        made = ir.node(kind, inputs, attributes=attributes, name=f"{self._name}_{suffix}")
        value = made.outputs[0]
        value.name, value.type = f"{self._name}_{suffix}", type_
        self._graph.insert_before(self._product.node, made)
        return value

    def _constant(self, name: str, content: Any, type_: ir.TensorType) -> ir.Value:
        """A constant, once in a graph."""
        if name not in self._graph.initializers:
            array = np.asarray(content)
            value = ir.Value(
                name=name,
                const_value=ir.tensor(array, name=name),
                type=type_,
                shape=ir.Shape(array.shape),
            )
            self._graph.register_initializer(value)
        return self._graph.initializers[name]
