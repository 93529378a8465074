"""Every rule of the preflight: a graph that breaks it, and a similar one that does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from itr_deploy.engines.preflight import RULES, Finding, GraphView, Target, lint_graph

FLOAT, HALF, BFLOAT, INT, BYTE = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
    TensorProto.UINT8,
)


def findings(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, int],
    constants: dict[str, np.ndarray] | None = None,
    target: Target = "tensorrt",
    outputs: dict[str, int] | None = None,
) -> list[Finding]:
    """What is found in a graph of these nodes; every input is ``[2, 3, 4]``."""
    values = [helper.make_tensor_value_info(name, kind, (2, 3, 4)) for name, kind in inputs.items()]
    known = outputs or {name: FLOAT for name in nodes[-1].output if name}
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in known.items()]
    weights = [numpy_helper.from_array(v, name) for name, v in (constants or {}).items()]
    model = helper.make_model(helper.make_graph(nodes, "g", values, results, weights))
    return list(lint_graph("g", GraphView(model), target))


def rules(*arguments: object, **more: object) -> list[str]:
    return [finding.rule for finding in findings(*arguments, **more)]  # type: ignore[arg-type]


def node(kind: str, inputs: str, outputs: str = "y", **attributes: object) -> onnx.NodeProto:
    taken = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, taken, outputs.split(), name=f"the_{kind}", **attributes)


def test_a_plain_graph_breaks_no_rule() -> None:
    nodes = [node("Mul", "x x", "z"), node("ReduceSum", "z axes")]
    assert rules(nodes, {"x": FLOAT}, {"axes": np.array([1])}) == []


@pytest.mark.parametrize("kind", ["Unique", "Compress", "SequenceEmpty", "BitwiseNot", "DFT"])
def test_an_operator_that_is_refused(kind: str) -> None:
    assert "operator" in rules([node(kind, "x")], {"x": FLOAT})


@pytest.mark.parametrize("kind", ["DynamicQuantizeLinear", "MatMulInteger", "QLinearMatMul"])
def test_an_operator_that_onnx_runtime_quantised(kind: str) -> None:
    (found,) = findings([node(kind, "x")], {"x": FLOAT})
    assert found.rule == "operator"
    assert "quantised for ONNX Runtime" in found.problem


def test_an_operator_of_another_domain() -> None:
    fused = node("FusedMatMul", "x x", domain="com.microsoft")
    (found,) = findings([fused], {"x": FLOAT})
    assert "com.microsoft.FusedMatMul" in str(found)


def test_an_operator_in_a_branch_is_seen() -> None:
    branch = helper.make_graph([node("Unique", "x")], "b", [], [])
    nodes = [node("If", "c", then_branch=branch, else_branch=branch)]
    assert "operator" in rules(nodes, {"x": FLOAT, "c": TensorProto.BOOL})


def test_nonzero_is_refused_by_rtx_alone() -> None:
    given = [node("NonZero", "x")], {"x": FLOAT}
    assert rules(*given, outputs={"y": INT}) == []
    assert rules(*given, outputs={"y": INT}, target="tensorrt-rtx") == ["operator"]


@pytest.mark.parametrize("kind", ["Add", "MatMul", "Concat"])
def test_operands_of_two_types(kind: str) -> None:
    more = {"axis": 0} if kind == "Concat" else {}
    given = [node("Cast", "x", "h", to=HALF), node(kind, "h w", **more)]
    # Shape inference leaves a graph alone that it cannot type.
    (found,) = findings(given, {"x": FLOAT, "w": FLOAT})
    assert found.rule == "mixed-types"
    assert "float and float16" in found.problem
    assert rules([node(kind, "x w", **more)], {"x": FLOAT, "w": FLOAT}) == []


def test_operands_that_may_differ_are_left_alone() -> None:
    assert rules([node("Gather", "x i")], {"x": FLOAT, "i": INT}) == []


@pytest.mark.parametrize(
    ("kind", "inputs", "broken"),
    [
        (HALF, "x w r b lengths", True),
        (HALF, "x w r b", False),
        (BFLOAT, "x w r b", True),
        (FLOAT, "x w r b lengths", False),
    ],
)
def test_recurrent_cells_of_a_type_that_is_refused(kind: int, inputs: str, broken: bool) -> None:
    types = dict.fromkeys("xwrb", kind) | {"lengths": TensorProto.INT32}
    found = rules([node("GRU", inputs, hidden_size=4)], types, outputs={"y": kind})
    assert found == ["recurrent-type"] * broken


@pytest.mark.parametrize("layout", [0, 1])
def test_a_layout_that_is_ignored(layout: int) -> None:
    given = node("GRU", "x w r", hidden_size=4, layout=layout)
    assert rules([given], dict.fromkeys("xwr", FLOAT)) == ["recurrent-layout"] * layout


def test_the_attention_operator() -> None:
    assert rules([node("Attention", "q k v")], dict.fromkeys("qkv", FLOAT)) == ["attention"]


@pytest.mark.parametrize(("count", "broken"), [(3840, False), (3841, True)])
def test_more_than_topk_takes(count: int, broken: bool) -> None:
    given = [node("TopK", "x k", "y i")], {"x": FLOAT}, {"k": np.array([count])}
    assert rules(*given, outputs={"y": FLOAT}) == ["top-k"] * broken


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceL2", "CumSum"])
def test_axes_that_are_computed(kind: str) -> None:
    computed = [node("Shape", "x", "a"), node(kind, "x a")]
    assert rules(computed, {"x": FLOAT}) == ["computed-constant"]
    folded = [node("Neg", "c", "a"), node(kind, "x a")]
    assert rules(folded, {"x": FLOAT}, {"c": np.array([1])}) == []


def test_a_depth_that_is_computed() -> None:
    nodes = [node("Size", "x", "d"), node("OneHot", "i d v")]
    values = {"v": np.array([0, 1], np.float32)}
    assert rules(nodes, {"x": FLOAT, "i": INT}, values) == ["computed-constant"]


@pytest.mark.parametrize(("how", "broken"), [("add", True), ("none", False)])
def test_scattering_with_a_reduction(how: str, broken: bool) -> None:
    given = node("ScatterND", "x i u", reduction=how)
    types = {"x": FLOAT, "i": INT, "u": FLOAT}
    assert rules([given], types) == ["scatter-reduction"] * broken


@pytest.mark.parametrize(("zero", "broken"), [(np.uint8(0), 0), (np.uint8(7), 1), (np.int8(7), 0)])
def test_unsigned_bytes_with_a_zero_point(zero: np.generic, broken: int) -> None:
    constants = {"s": np.float32(0.1), "z": np.asarray(zero)}
    given = [node("QuantizeLinear", "x s z")], {"x": FLOAT}, constants
    found = rules(*given, outputs={"y": BYTE if zero.dtype == np.uint8 else TensorProto.INT8})
    assert found == ["zero-point"] * broken


@pytest.mark.parametrize(("epsilon", "broken"), [(1e-8, 1), (1e-5, 0), (0.0, 0)])
def test_an_epsilon_that_half_precision_makes_0(epsilon: float, broken: int) -> None:
    constants = {"e": np.float32(epsilon)}
    nodes = [node("Cast", "e", "h", to=HALF), node("Add", "x h")]
    found = rules(nodes, {"x": HALF}, constants, outputs={"y": HALF})
    assert found == ["half-constant"] * broken


def test_an_epsilon_in_float32_stays() -> None:
    assert rules([node("Add", "x e")], {"x": FLOAT}, {"e": np.float32(1e-8)}) == []


def test_a_finding_names_node_operator_and_module() -> None:
    given = node("Attention", "q k v")
    scope = ": a.Root/deployed.model.sa: b.SelfAttention/attention: aten.sdpa.default"
    given.metadata_props.add(key="namespace", value=scope)
    (found,) = findings([given], dict.fromkeys("qkv", FLOAT))
    assert str(found) == (
        "g: Attention the_Attention of deployed.model.sa: the Attention operator fails at build; "
        "export at opset 20 [attention]"
    )


def test_every_rule_has_a_test_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [rule for rule in RULES if f'"{rule}"' not in source] == []
