"""The graphs of a matcher's bundle, made one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import onnx_ir as ir
from torch import nn

from itr_deploy.bundle.manifest import Precision, Quantization
from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, REFINERS, Roles
from itr_deploy.exporters.directions import directed, paired, part
from itr_deploy.exporters.modules import (
    ImageEncoderModule,
    Quantised,
    ScorersModule,
    TextEncoderModule,
)
from itr_deploy.exporters.specs import (
    GraphSpec,
    PairTensors,
    attention_tensors,
    direction_spec,
    explain_spec,
    image_encoder_spec,
    pair_tensors,
    prefilter_tensors,
    refine_tensors,
    text_encoder_spec,
)
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher
from itr_deploy.models.quantised import PRODUCT

log = logging.getLogger(__name__)

NOTHING_TO_ROUND = (
    "quantize=%r (--quantize) changes nothing: no product with constant weights remains for a pair "
    "of this model"
)
NOTHING_HALVED = (
    "dtype=%r (--dtype) changes nothing: all products of this model stay in float32, as they run "
    "once per item (docs/guides/precision.md)"
)


def traced_graphs(
    trained: TrainedMatcher,
    opset: int,
    precision: Precision = "float32",
    quantization: Quantization | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[tuple[GraphSpec, ir.Model]]:
    """Translate a matcher to ONNX, encoders first.

    Args:
        trained: The matcher.
        opset: ONNX operator set.
        precision: Type of the matrix products; inputs and outputs keep their types.
        quantization: What the matcher's Linears are rounded to; encoders are not quantised.
        progress: Called with the name of each step as it begins.

    Raises:
        torch.onnx.OnnxExporterError: A module cannot be translated.
    """
    deployed, halved = trained.deployed, False
    for spec, encoder in (
        (image_encoder_spec(trained), ImageEncoderModule(deployed)),
        (text_encoder_spec(trained), TextEncoderModule(deployed)),
    ):
        progress(f"graph {spec.role}")
        model = to_onnx(encoder, spec.inputs, spec.outputs, opset, precision)
        halved = halved or _has_halves(model)
        yield spec, model
    if not isinstance(deployed, DeployedMatcher):
        if quantization is not None:
            log.warning(NOTHING_TO_ROUND, quantization)
        if precision != "float32" and not halved:
            log.warning(NOTHING_HALVED, precision)
        return  # a dual encoder: its scores are products of the embeddings
    progress("what scores pairs, for both directions")
    model = _all_outputs(deployed, opset, precision, quantization)
    for roles, pairs, scorer in _scorers(deployed, model):
        for query, role in roles.items():
            spec = direction_spec(role, query, pairs)
            progress(f"graph {role}")
            yield spec, directed(scorer, spec, query)
    if deployed.attention_steps:
        spec = explain_spec(deployed)
        progress(f"graph {spec.role}")
        own = part(model, attention_tensors(deployed), slice(-len(spec.outputs), None))
        yield spec, paired(own, spec)


def _has_halves(model: ir.Model) -> bool:
    """Whether anything is computed in half precision."""
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    return any(value.dtype in halves for node in model.graph for value in node.outputs)


def _all_outputs(
    deployed: DeployedMatcher, opset: int, precision: Precision, quantization: Quantization | None
) -> ir.Model:
    """One trace of all that is told of pairs; the graphs are parts of it."""
    pairs = pair_tensors(deployed)
    inputs, outputs = (pairs.texts, pairs.lengths, pairs.images), pairs.outputs
    if deployed.prefilter_image_tensors:
        outputs = (*outputs, replace(outputs[0], name="prefilter_scores"))
    if deployed.refine_image_tensors:
        outputs = (*outputs, replace(outputs[0], name="refine_scores"))
    if deployed.attention_steps:
        outputs = (*outputs, *attention_tensors(deployed).outputs)
    module: nn.Module = ScorersModule(deployed)
    if quantization is not None:
        module = Quantised(module)
    model = to_onnx(module, inputs, outputs, opset, precision)
    if quantization is not None and not any(n.op_type == PRODUCT for n in model.graph.all_nodes()):
        log.warning(NOTHING_TO_ROUND, quantization)
    return model


def _scorers(
    deployed: DeployedMatcher, model: ir.Model
) -> Iterator[tuple[Roles, PairTensors, ir.Model]]:
    """The matcher, and the prefilter and the refiner that some families have."""
    pairs = pair_tensors(deployed)
    count = len(pairs.outputs)
    yield MATCHERS, pairs, part(model, pairs, slice(count))
    if deployed.prefilter_image_tensors:
        own = prefilter_tensors(deployed)
        yield PREFILTERS, own, part(model, own, slice(count, count + 1))
        count += 1
    if deployed.refine_image_tensors:
        own = refine_tensors(deployed)
        yield REFINERS, own, part(model, own, slice(count, count + 1))
