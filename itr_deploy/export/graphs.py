"""A bundle's graphs: which there are, their axes, and their translation to ONNX."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from itr_deploy.bundle.manifest import GraphRole, Modality, Precision, Quantization, StoredTensor
from itr_deploy.export.modules import (
    ImageEncoderModule,
    ImageToTextModule,
    InPrecision,
    Quantised,
    TextEncoderModule,
    TextToImageModule,
)
from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher

LARGEST_CONSTANT = 1 << 31
"""Constant folding stops at weights of this many bytes; below it nothing is left to run time."""

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
    candidates = GraphTensor("candidates", torch.int64, ("groups", "candidates"))
    pairs = ("queries", "candidates")
    outputs = (
        GraphTensor("scores", torch.float32, pairs),
        *(
            GraphTensor(output.name, torch.float32, (*pairs, *output.shape))
            for output in deployed.pair_outputs
        ),
    )
    text_query, text_gallery = (
        _stored(deployed, "text", "queries"),
        _stored(deployed, "text", "gallery"),
    )
    image_query = _stored(deployed, "image", "queries")
    image_gallery = _stored(deployed, "image", "gallery")
    return [
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
        GraphSpec(
            "match_text_to_image",
            TextToImageModule(deployed),
            (text_query, _lengths("queries"), image_gallery, candidates),
            outputs,
        ),
        GraphSpec(
            "match_image_to_text",
            ImageToTextModule(deployed),
            (image_query, text_gallery, _lengths("gallery"), candidates),
            outputs,
        ),
    ]


def to_onnx(
    spec: GraphSpec,
    opset: int,
    precision: Precision = "float32",
    quantization: Quantization | None = None,
) -> ir.Model:
    """Translate a graph, fold its constants and name its axes.

    Args:
        spec: The graph.
        opset: ONNX operator set.
        precision: Type of its matrix products; inputs and outputs keep their types.
        quantization: What its Linears are rounded to.

    Raises:
        torch.onnx.OnnxExporterError: The module cannot be translated.
    """
    flat = spec.flat_inputs
    module: nn.Module = InPrecision(spec.module, precision)
    if quantization is not None:
        module = Quantised(module)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
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
