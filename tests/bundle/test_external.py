from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from itr_deploy.bundle.external import external_files
from itr_deploy.errors import BundleError


def graph(*locations: str, initializer: str = "weight", within_if: bool = False) -> bytes:
    """A graph with one external weight a location, all of them in an If's branch if asked."""
    weights = []
    for number, location in enumerate(locations):
        weight = TensorProto(name=f"{initializer}{number}", data_type=1, dims=[4])
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            weight.external_data.add(key=key, value=value)
        weights.append(weight)
    inner = helper.make_graph([], "inner", [], [], initializer=weights)
    if within_if:
        node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "outer", [], [])
    return helper.make_model(inner).SerializeToString()


@pytest.mark.parametrize("within_if", [False, True])
def test_every_file_that_a_graph_reads_is_found(within_if: bool) -> None:
    found = graph("weights.bin", "other/Größe.bin", within_if=within_if)
    assert external_files(found, "graph") == {"weights.bin", "other/Größe.bin"}
    assert external_files(graph(), "graph") == set()


def test_names_of_weights_do_not_matter() -> None:
    found = graph("weights.bin", initializer="relocation.location")
    assert external_files(found, "graph") == {"weights.bin"}


def test_an_unusual_form_is_refused() -> None:
    usual = graph("weights.bin")
    key, value = b"\n\x08location", b"\x12\x0bweights.bin"
    value_first = usual.replace(key + value, value + key)
    parsed = onnx.load_from_string(value_first).graph.initializer[0].external_data[0]
    assert (parsed.key, parsed.value) == ("location", "weights.bin")
    long_key = usual.replace(key, b"\n\x88\x00location")
    for content in (value_first, long_key, graph("x" * 200)):
        with pytest.raises(BundleError, match="an unusual form"):
            external_files(content, "graph")
