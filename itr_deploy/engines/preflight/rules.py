"""What TensorRT refuses or computes wrongly in a graph, one function per rule.

The facts were measured with the parsers of TensorRT 10.3 to 11.4 and TensorRT for RTX 1.7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from onnx import NodeProto, TensorProto, defs

from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.preflight.graph import GraphView, attribute

Target = EngineTarget
Problem = tuple[NodeProto, str, str]
"""The node, what is wrong with it, and the remedy."""
Rule = Callable[[GraphView, Target], Iterator[Problem]]

MOST_TOP_K = 3840
LEAST_HALF = 6e-8
"""The smallest float16 number above 0."""
HALF, BFLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16
RECURRENT = ("GRU", "LSTM", "RNN")
# fmt: off
REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)
UNSUPPORTED = frozenset({
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger",
    "CumProd", "DFT", "DeformConv", "Det", "DynamicQuantizeLinear", "ImageDecoder",
    "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial",
    "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement",
    "QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap",
    "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat", "StringNormalizer",
    "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
})
# fmt: on
"""ONNX operators that the parsers do not accept."""

QUANTISED = frozenset(
    {"DynamicQuantizeLinear", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger"}
)


def operators(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Operators that the parser does not know."""
    for node in graph.nodes:
        if node.op_type in QUANTISED or node.op_type.startswith("QLinear"):
            remedy = "a quantised graph is for ONNX Runtime on a CPU; use the float bundle"
            yield node, f"operator {node.op_type} is quantised for ONNX Runtime", remedy
        elif node.domain not in ("", "ai.onnx"):
            remedy = "export again; a graph that ONNX Runtime optimised is for ONNX Runtime alone"
            yield node, f"operator {node.domain}.{node.op_type} is not ONNX's own", remedy
        elif node.op_type in UNSUPPORTED or node.op_type.startswith(("Sequence", "Optional")):
            yield node, f"operator {node.op_type} is refused", "write it with other operators"
        elif node.op_type == "NonZero" and target == "tensorrt-rtx":
            yield node, "operator NonZero is refused by TensorRT for RTX", "use Where with a mask"


def mixed_types(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Operands that ONNX requires to have one type but that have two."""
    for node in graph.nodes:
        for names in _of_one_type(node):
            found = {graph.dtype(name) for name in names} - {None}
            if len(found) > 1:
                types = " and ".join(sorted(_name(dtype) for dtype in found if dtype))
                yield node, f"operands of {types}", "cast them to one type in the model"


def recurrent_types(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Recurrent cells in half precision."""
    for node in graph.nodes:
        if node.op_type not in RECURRENT:
            continue
        dtype = graph.dtype(node.input[0])
        lengths = len(node.input) > 4 and bool(node.input[4])
        if dtype == HALF and lengths:
            remedy = "leave the lengths out (reverse the text before a second forward cell)"
            yield node, f"{node.op_type} with sequence_lens in float16", f"{remedy} or use float32"
        elif dtype == BFLOAT:
            yield node, f"{node.op_type} in bfloat16", "keep the recurrent cell in float32"


def recurrent_layout(graph: GraphView, target: Target) -> Iterator[Problem]:
    """The layout of recurrent cells that is silently ignored."""
    for node in graph.nodes:
        if node.op_type in RECURRENT and attribute(node, "layout") == 1:
            remedy = "transpose around it and use layout=0"
            yield node, "layout=1 is ignored: the output has another shape", remedy


def attention(graph: GraphView, target: Target) -> Iterator[Problem]:
    """The fused attention operator, which fails at build in float32 or with odd head sizes."""
    for node in graph.nodes:
        if node.op_type == "Attention" and not node.domain:
            yield node, "the Attention operator fails at build", "export at opset 20"


def top_k(graph: GraphView, target: Target) -> Iterator[Problem]:
    """A TopK of more items than it supports."""
    for node in graph.nodes:
        if node.op_type == "TopK":
            count = graph.constant(node.input[1])
            if count is not None and int(np.max(count)) > MOST_TOP_K:
                found = f"TopK of {int(np.max(count))}"
                yield node, found, f"take at most {MOST_TOP_K}"


def constants(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Axes and depths that must be known when the engine is built."""
    places = {"CumSum": (1, "axis"), "OneHot": (1, "depth")}
    places |= dict.fromkeys(REDUCTIONS, (1, "axes"))
    for node in graph.nodes:
        place, name = places.get(node.op_type, (0, ""))
        given = node.input[place] if place and len(node.input) > place else ""
        if given and not graph.is_constant(given):
            yield node, f"{node.op_type}'s {name} is computed", "make it a constant of the model"


def scatter(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Scattering with a reduction."""
    for node in graph.nodes:
        how = attribute(node, "reduction", "none")
        if node.op_type == "ScatterND" and how != "none":
            yield node, f"ScatterND with reduction {how}", "write it as a sum of products"


def zero_points(graph: GraphView, target: Target) -> Iterator[Problem]:
    """uint8 with a zero point other than 0."""
    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = graph.constant(node.input[2]) if node.input[2] else None
        unsigned = graph.dtype(node.input[2]) == TensorProto.UINT8
        if unsigned and (zero is None or np.any(zero)):
            yield node, f"{node.op_type} of uint8 with a zero point", "quantise to int8"


def half_constants(graph: GraphView, target: Target) -> Iterator[Problem]:
    """Numbers that become 0 in float16, as small epsilons do."""
    for node in graph.nodes:
        if not any(graph.dtype(name) == HALF for name in node.output):
            continue
        for name in node.input:
            value = graph.constant(name) if name else None
            if value is None or value.dtype.kind != "f":
                continue
            sizes = np.abs(value.astype(np.float64))
            small = sizes[(sizes > 0) & (sizes < LEAST_HALF)]
            if small.size:
                remedy = "keep this step in float32, or clamp at a larger number"
                yield node, f"constant {small.min():.1e} becomes 0 in float16", remedy


RULES: dict[str, Rule] = {
    "operator": operators,
    "mixed-types": mixed_types,
    "recurrent-type": recurrent_types,
    "recurrent-layout": recurrent_layout,
    "attention": attention,
    "top-k": top_k,
    "computed-constant": constants,
    "scatter-reduction": scatter,
    "zero-point": zero_points,
    "half-constant": half_constants,
}


def _of_one_type(node: NodeProto) -> Iterator[list[str]]:
    """Groups of a node's inputs to which its operator's schema gives the same type."""
    if node.domain not in ("", "ai.onnx"):
        return
    groups: dict[str, list[str]] = {}
    types, repeats = _formal_types(node.op_type)
    if not types:
        return
    for place, name in enumerate(node.input):
        if place >= len(types) and not repeats:
            return
        if name:
            groups.setdefault(types[min(place, len(types) - 1)], []).append(name)
    yield from groups.values()


@cache
def _formal_types(operator: str) -> tuple[tuple[str, ...], bool]:
    """The names of an operator's inputs' types, and whether the last one may come repeatedly."""
    if not defs.has(operator):
        return (), False
    formal = defs.get_schema(operator).inputs
    variadic = defs.OpSchema.FormalParameterOption.Variadic
    return tuple(p.type_str for p in formal), bool(formal) and formal[-1].option == variadic


def _name(dtype: int) -> str:
    return str(TensorProto.DataType.Name(dtype)).lower()
