"""A bundle's graphs: which there are, their axes, and their translation to ONNX."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from itr_deploy.bundle.manifest import GraphRole, Modality, Precision, StoredTensor
from itr_deploy.export.modules import (
    ImageEncoderModule,
    ImageToTextModule,
    InPrecision,
    PairModule,
    Prefilter,
    TextEncoderModule,
    TextToImageModule,
)
from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher

LARGEST_CONSTANT = 1 << 31
"""Constant folding stops at weights of this many bytes; below it nothing is left to run time."""

_PAIRS = ("queries", "candidates")
_EXAMPLE = {"batch": 3, "queries": 6, "groups": 3, "candidates": 4, "gallery": 5}


@dataclass(frozen=True)
class GraphTensor:
    """One tensor of a graph: its name, dtype, and axes (a string is a dynamic axis)."""

    name: str
    dtype: torch.dtype
    axes: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """A graph to export: the module, and its inputs in the nesting its forward takes."""

    role: GraphRole
    module: nn.Module
    inputs: tuple[GraphTensor | tuple[GraphTensor, ...], ...]
    outputs: tuple[GraphTensor, ...]

    @property
    def flat_inputs(self) -> list[GraphTensor]:
        """The inputs in order, without nesting."""
        nested = ((entry,) if isinstance(entry, GraphTensor) else entry for entry in self.inputs)
        return [tensor for group in nested for tensor in group]


def graph_specs(trained: TrainedMatcher) -> list[GraphSpec]:
    """The graphs of a matcher's bundle, encoders first."""
    deployed = trained.deployed
    ids = GraphTensor("token_ids", torch.int64, ("batch", _text_axis(deployed)))
    regions = GraphTensor(
        "regions", torch.float32, ("batch", _image_axis(deployed), trained.image_dim)
    )
    encoders = [
        GraphSpec(
            "image_encoder",
            ImageEncoderModule(deployed),
            (regions,),
            (*_stored(deployed, "image", "batch"), _embedding(deployed, "image")),
        ),
        GraphSpec(
            "text_encoder",
            TextEncoderModule(deployed),
            (ids, _lengths("batch")),
            (*_stored(deployed, "text", "batch"), _embedding(deployed, "text")),
        ),
    ]
    told = tuple(
        GraphTensor(output.name, torch.float32, (*_PAIRS, *output.shape))
        for output in deployed.pair_outputs
    )
    everything: dict[Modality, Sequence[str]] = {
        "image": [spec.name for spec in deployed.image_tensors],
        "text": [spec.name for spec in deployed.text_tensors],
    }
    roles: tuple[GraphRole, GraphRole] = ("match_text_to_image", "match_image_to_text")
    matchers = _pair_specs(roles, deployed, deployed, everything, told)
    if not deployed.prefilter_image_tensors:
        return [*encoders, *matchers]
    some: dict[Modality, Sequence[str]] = {
        "image": deployed.prefilter_image_tensors,
        "text": deployed.prefilter_text_tensors,
    }
    roles = "prefilter_text_to_image", "prefilter_image_to_text"
    return [*encoders, *matchers, *_pair_specs(roles, deployed, Prefilter(deployed), some, ())]


def _pair_specs(
    roles: tuple[GraphRole, GraphRole],
    deployed: DeployedMatcher,
    module: PairModule,
    read: Mapping[Modality, Sequence[str]],
    told: tuple[GraphTensor, ...],
) -> list[GraphSpec]:
    """Both directions of what scores pairs from the stored tensors named in ``read``."""

    def stored(modality: Modality, first: str) -> tuple[GraphTensor, ...]:
        names = [f"{modality}_{name}" for name in read[modality]]
        return tuple(t for t in _stored(deployed, modality, first) if t.name in names)

    candidates = GraphTensor("candidates", torch.int64, ("groups", "candidates"))
    outputs = (GraphTensor("scores", torch.float32, _PAIRS), *told)
    texts, images = stored("text", "queries"), stored("image", "gallery")
    to_image = (texts, _lengths("queries"), images, candidates)
    images, texts = stored("image", "queries"), stored("text", "gallery")
    to_text = (images, texts, _lengths("gallery"), candidates)
    return [
        GraphSpec(roles[0], TextToImageModule(module), to_image, outputs),
        GraphSpec(roles[1], ImageToTextModule(module), to_text, outputs),
    ]


def to_onnx(spec: GraphSpec, opset: int, precision: Precision = "float32") -> ir.Model:
    """Translate a graph, fold its constants and name its axes.

    Args:
        spec: The graph.
        opset: ONNX operator set.
        precision: Type of its matrix products; inputs and outputs keep their types.

    Raises:
        torch.onnx.OnnxExporterError: The module cannot be translated.
    """
    flat = spec.flat_inputs
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            InPrecision(spec.module, precision).eval(),
            tuple(_nested(entry, _example) for entry in spec.inputs),
            dynamo=True,
            opset_version=opset,
            input_names=[tensor.name for tensor in flat],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes={"inputs": tuple(_nested(entry, _dynamic) for entry in spec.inputs)},
            verbose=False,
        )
    assert program is not None
    model = program.model
    onnxscript.optimizer.optimize(
        model, input_size_limit=LARGEST_CONSTANT, output_size_limit=LARGEST_CONSTANT
    )
    for value, tensor in zip(model.graph.inputs, flat, strict=True):
        value.shape = ir.Shape(tensor.axes)
    for value, tensor in zip(model.graph.outputs, spec.outputs, strict=True):
        value.shape = ir.Shape(tensor.axes)
    return model


def gallery_inputs(spec: GraphSpec) -> list[str]:
    """Names of the stored tensors that a matcher graph gathers its candidates from."""
    return [
        tensor.name
        for tensor in spec.flat_inputs
        if tensor.axes[0] == "gallery" and tensor.dtype == torch.float32
    ]


def _stored(deployed: DeployedMatcher, modality: Modality, first: str) -> tuple[GraphTensor, ...]:
    specs = deployed.image_tensors if modality == "image" else deployed.text_tensors
    axis = _image_axis(deployed) if modality == "image" else _text_axis(deployed)

    def axes(spec: StoredTensor) -> tuple[int | str, ...]:
        return (first, axis, spec.width) if spec.per_position else (first, spec.width)

    return tuple(
        GraphTensor(f"{modality}_{spec.name}", torch.float32, axes(spec)) for spec in specs
    )


def _embedding(deployed: DeployedMatcher, modality: Modality) -> GraphTensor:
    return GraphTensor(f"{modality}_embedding", torch.float32, ("batch", deployed.embedding_dim))


def _lengths(first: str) -> GraphTensor:
    return GraphTensor("text_lengths", torch.int64, (first,))


def _image_axis(deployed: DeployedMatcher) -> int | str:
    return deployed.regions or "regions"


def _text_axis(deployed: DeployedMatcher) -> int | str:
    return deployed.text_length or "length"


def _nested(entry: GraphTensor | tuple[GraphTensor, ...], make: Any) -> Any:
    return make(entry) if isinstance(entry, GraphTensor) else [make(tensor) for tensor in entry]


def _example(tensor: GraphTensor) -> Tensor:
    """A small input; sizes differ between axes, so that none is taken for another."""
    sizes = {**_EXAMPLE, "regions": 7, "length": 8}
    shape = [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
    if tensor.dtype == torch.float32:
        return torch.rand(shape)
    return torch.ones(shape, dtype=tensor.dtype)


def _dynamic(tensor: GraphTensor) -> dict[int, Any]:
    return {
        place: torch.export.Dim.DYNAMIC
        for place, axis in enumerate(tensor.axes)
        if isinstance(axis, str)
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's remarks on packages it can do without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
