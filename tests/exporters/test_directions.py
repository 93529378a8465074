"""Parts and directions of a traced model, on a model of three nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from itr_deploy.exporters.directions import directed, part
from itr_deploy.exporters.specs import GraphTensor, PairTensors, direction_spec

PAIRS = PairTensors(
    (GraphTensor("text_words", torch.float32, ("groups", "texts", 2)),),
    GraphTensor("text_lengths", torch.int64, ("groups", "texts")),
    (GraphTensor("image_regions", torch.float32, ("groups", "images", 2)),),
    (GraphTensor("scores", torch.float32, ("groups", "texts", "images")),),
)
PREFILTERS = {
    "of its own": "prefilter_scores = Neg(product)",
    "from the matcher's": "prefilter_scores = Neg(scores)",
    "into the matcher's": "prefilter_scores = Identity(product)",
}


def traced(prefilter: str) -> ir.Model:
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    pairs (float[groups, texts, 2] text_words, int64[groups, texts] text_lengths,
           float[groups, images, 2] image_regions)
        => (float[groups, texts, images] scores, float[groups, texts, images] prefilter_scores)
    {{ turned = Transpose <perm = [0, 2, 1]> (image_regions)
       product = MatMul(text_words, turned)
       scores = Abs(product)
       {PREFILTERS[prefilter]} }}
    """
    return ir.from_proto(onnx.parser.parse_model(text))


def scores(model: ir.Model) -> np.ndarray:
    """Two texts with two images each of three."""
    spec = direction_spec("match_text_to_image", "text", PAIRS)
    proto = ir.to_proto(directed(model, spec, "text"))
    onnx.checker.check_model(proto, full_check=True)
    words = np.array([[1, 2], [3, -4]], np.float32)
    regions = np.array([[1, 0], [0, 1], [1, -1]], np.float32)
    given = {"text_words": words, "text_lengths": np.ones(2, np.int64)}
    given |= {"image_regions": regions, "candidates": np.array([[0, 1], [1, 2]])}
    read = {value.name for value in proto.graph.input}
    (found,) = ReferenceEvaluator(proto).run(["scores"], {n: given[n] for n in read})
    assert [value.name for value in proto.graph.output] == ["scores"]
    return found


@pytest.mark.parametrize("prefilter", PREFILTERS)
def test_each_of_two_outputs_has_its_graph_also_where_one_is_made_of_the_other(
    prefilter: str,
) -> None:
    model = traced(prefilter)
    product = np.array([[1, 2], [-4, 7]], np.float32)
    expected = {
        "of its own": -product,
        "from the matcher's": -np.abs(product),
        "into the matcher's": product,
    }
    np.testing.assert_array_equal(scores(part(model, PAIRS, slice(1))), np.abs(product))
    np.testing.assert_array_equal(scores(part(model, PAIRS, slice(-1, None))), expected[prefilter])


def test_two_outputs_that_are_one_value_have_a_graph_each() -> None:
    model = traced("of its own")
    model.graph.outputs[1] = model.graph.outputs[0]
    for outputs in (slice(1), slice(-1, None)):
        np.testing.assert_array_equal(scores(part(model, PAIRS, outputs)), [[1, 2], [4, 7]])
