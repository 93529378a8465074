"""The graphs of a matcher's bundle, each as it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir
from torch import nn

from itr_deploy.bundle.manifest import Precision, Quantization
from itr_deploy.export.directions import directed
from itr_deploy.export.modules import (
    ImageEncoderModule,
    MatcherModule,
    PrefilterModule,
    Quantised,
    TextEncoderModule,
)
from itr_deploy.export.specs import (
    GraphSpec,
    PairTensors,
    direction_spec,
    image_encoder_spec,
    pair_tensors,
    prefilter_tensors,
    text_encoder_spec,
)
from itr_deploy.export.tracing import to_onnx
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.runtime.roles import MATCHERS, PREFILTERS, Roles


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
        quantization: What the matcher's Linears are rounded to; encoders have float32's.
        progress: Called with the name of each step as it begins.

    Raises:
        torch.onnx.OnnxExporterError: A module cannot be translated.
    """
    deployed = trained.deployed
    for spec, encoder in (
        (image_encoder_spec(trained), ImageEncoderModule(deployed)),
        (text_encoder_spec(trained), TextEncoderModule(deployed)),
    ):
        progress(f"graph {spec.role}")
        yield spec, to_onnx(encoder, spec.inputs, spec.outputs, opset, precision)
    scorers: list[tuple[str, Roles, nn.Module, PairTensors]]
    scorers = [("the matcher", MATCHERS, MatcherModule(deployed), pair_tensors(deployed))]
    if deployed.prefilter_image_tensors:
        prefilter = PrefilterModule(deployed)
        scorers.append(("the prefilter", PREFILTERS, prefilter, prefilter_tensors(deployed)))
    for name, roles, module, pairs in scorers:
        progress(f"{name}, for both directions")
        inputs = (pairs.texts, pairs.lengths, pairs.images)
        if quantization is not None:
            module = Quantised(module)
        both = to_onnx(module, inputs, pairs.outputs, opset, precision)
        for query, role in roles.items():
            spec = direction_spec(role, query, pairs)
            progress(f"graph {role}")
            yield spec, directed(both, spec, query)
