"""The proof of an engine's precision, from the layers that the real builder made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from itr_deploy.engines.builder.build import Engine
from itr_deploy.engines.builder.inspection import (
    Layer,
    count_products,
    engine_layers,
    read_layers,
)
from itr_deploy.engines.builder.network import parse_graph
from itr_deploy.engines.builder.products import Products, products_of
from itr_deploy.engines.library import Heard, import_library
from itr_deploy.errors import EngineError
from tests.support.engines import GRAPH, RTX, GraphMaker

Build = Callable[..., Engine]
HALF, FLOAT = frozenset({"float16"}), frozenset({"float32"})

# As TensorRT's inspector writes it, which gives types with the format.
INSPECTED = """Layers:
Name: fc, LayerType: CaskGemmMatrixMultiply, Inputs: [ { Name: x [0], Location: Device, \
Dimensions: [8,64], Format/Datatype: Row major linear FP16 format }], Outputs: [ { Name: y, \
Location: Device, Dimensions: [8,64], Format/Datatype: Row major linear FP32 }], \
ParameterType: MatrixMultiply, TacticValue: 0x1, Metadata: [ONNX Layer: fc]
Name: Reformatting CopyNode for gemm, LayerType: Reformat, Inputs: [ { Name: y, \
Dimensions: [8,64], Format/Datatype: Row major linear FP32 }], Outputs: [], Metadata:

Bindings:
x
y"""


@RTX
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_products_are_shown_to_be_half(build: Build, precision: str) -> None:
    maker = GraphMaker(precision).linear().attention().linear()
    assert build(maker.model(), precision).matrix_layers.keys() == {precision}


@RTX
def test_what_the_graph_has_in_float32_on_purpose_stays_so(build: Build) -> None:
    maker = GraphMaker("float16").linear().linear("float32")
    assert build(maker.model(), "float16").matrix_layers == {"float16": 1, "float32": 1}


@RTX
def test_recurrent_cells_stay_in_float32(build: Build) -> None:
    layers = build(GraphMaker("float16").recurrent().linear().model(), "float16").matrix_layers
    assert layers["float16"] == 1
    assert layers["float32"] > 1


@RTX
def test_a_graph_of_recurrent_cells_alone_has_nothing_that_could_be_half(build: Build) -> None:
    assert build(GraphMaker("float16").recurrent().model(), "float16").matrix_layers.keys() == {
        "float32"
    }


@RTX
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_an_engine_without_half_products_is_an_error(build: Build, precision: str) -> None:
    with pytest.raises(EngineError) as caught:
        build(GraphMaker("float32").linear().attention().model(), precision)
    assert str(caught.value) == (
        f"{GRAPH}: no matrix product of its engine is {precision}: "
        f"3 in float32; export the bundle again with dtype={precision!r} (--dtype {precision})"
    )


@RTX
def test_half_of_the_other_kind_is_an_error(build: Build) -> None:
    with pytest.raises(EngineError, match="no matrix product of its engine is float16: 1 in bflo"):
        build(GraphMaker("bfloat16").linear().model(), "float16")


@RTX
def test_products_are_found_in_the_network_by_their_nodes(tmp_path: Path) -> None:
    maker = GraphMaker("float16").linear().recurrent().linear("float32")
    onnx.save(maker.model(), tmp_path / "g.onnx")
    trt = import_library("tensorrt-rtx")
    parsed = parse_graph(trt, tmp_path / "g.onnx")
    found = products_of(trt, parsed.network)
    assert list(found.named.values()) == ["float16", "float32"]
    assert found.unnamed == {"float32"}


def test_layers_are_read_as_the_inspector_writes_them() -> None:
    assert list(read_layers(INSPECTED)) == [
        Layer("fc", True, ("fc",), HALF),
        Layer("Reformatting CopyNode for gemm", False, (), FLOAT),
    ]


def test_a_library_that_tells_no_layers_proves_nothing() -> None:
    class Library:
        __name__, __version__ = "tensorrt", "10.3.0"

    with pytest.raises(EngineError, match=r"tensorrt 10\.3\.0 does not tell the layers"):
        engine_layers(Library(), b"", Heard(), has_gpu=False)


def counted(
    layers: list[Layer], named: dict[str, str], unnamed: str = "", encodes: bool = False
) -> dict[str, int]:
    products = Products(named, frozenset({unnamed} if unnamed else ()))  # type: ignore[arg-type]
    return count_products("g", "float16", layers, products, encodes=encodes)


def test_an_encoder_alone_may_be_all_float32() -> None:
    layers = [Layer("one", True, ("a",), FLOAT)]
    assert counted(layers, {"a": "float32"}, encodes=True) == {"float32": 1}
    with pytest.raises(EngineError, match="no matrix product of its engine is float16"):
        counted(layers, {"a": "float32"})
    with pytest.raises(EngineError, match="no matrix product of its engine is float16"):
        counted(layers, {"a": "float16"}, encodes=True)


def test_a_product_that_the_builder_made_float32_is_named() -> None:
    layers = [Layer("one", True, ("a",), HALF), Layer("two", True, ("b",), FLOAT)]
    with pytest.raises(EngineError, match=r"g: layer two \(b\) multiplies matrices in float32"):
        counted(layers, {"a": "float16", "b": "float16"})
    assert counted(layers, {"a": "float16", "b": "float32"}) == {"float16": 1, "float32": 1}


def test_a_float32_product_of_no_node_is_a_recurrent_cells_or_an_error() -> None:
    layers = [Layer("one", True, ("a",), HALF), Layer("loop", True, (), FLOAT)]
    assert counted(layers, {"a": "float16"}, "float32") == {"float16": 1, "float32": 1}
    with pytest.raises(EngineError, match=r"layer loop \(no node of the graph\)"):
        counted(layers, {"a": "float16"})


def test_a_kernel_with_a_float32_mask_computes_in_what_its_product_does() -> None:
    layers = [Layer("attention", True, ("a", "softmax"), HALF | FLOAT)]
    assert counted(layers, {"a": "float16"}) == {"float16": 1}


def test_a_product_dissolved_into_other_kernels_counts_where_its_operands_are() -> None:
    layers = [Layer("muls", False, ("a",), HALF), Layer("bias", False, ("a", "add"), FLOAT)]
    assert counted(layers, {"a": "float16"}) == {"float16": 1}
    with pytest.raises(EngineError, match="no matrix product of its engine is float16"):
        counted(layers[1:], {"a": "float16"})
