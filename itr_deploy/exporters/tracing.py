"""A torch module as an ONNX graph."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir
import torch
import torch._dynamo.config
from torch import Tensor, nn

from itr_deploy.bundle.manifest import Precision
from itr_deploy.exporters.garbage import collected_later
from itr_deploy.exporters.modules import InPrecision
from itr_deploy.exporters.optimising import optimise
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.translating import captured, translated
from itr_deploy.models.layers import onnx_gru_weights

_EXAMPLE = {"batch": 3, "groups": 3, "texts": 2, "images": 4, "regions": 7, "length": 8}
_EXAMPLE |= {"height": 45, "width": 62, "rows": 9, "columns": 13}

Inputs = Sequence[GraphTensor | Sequence[GraphTensor]]
"""Inputs nested as a module's forward takes them."""

_alone = threading.Lock()
"""Held by a trace: what it replaces of PyTorch for a while is the whole process's."""


def to_onnx(
    module: nn.Module,
    inputs: Inputs,
    outputs: Sequence[GraphTensor],
    opset: int,
    precision: Precision = "float32",
) -> ir.Model:
    """Translate a module, fold its constants and name its axes.

    Args:
        module: The module to translate.
        inputs: Inputs of its forward.
        outputs: Its outputs.
        opset: ONNX operator set.
        precision: Type of its matrix products; inputs and outputs keep their types.

    Raises:
        torch.onnx.OnnxExporterError: The module cannot be translated.
    """
    flat = [
        tensor
        for entry in inputs
        for tensor in ((entry,) if isinstance(entry, GraphTensor) else entry)
    ]
    with (
        _alone,
        _quiet(),
        collected_later(),
        _no_cache(),
        torch.no_grad(),
        onnx_gru_weights(module),
    ):
        program = captured(
            InPrecision(module, precision).eval(),
            tuple(_nested(entry, _example) for entry in inputs),
            {"inputs": tuple(_nested(entry, _dynamic) for entry in inputs)},
        )
        model = translated(
            program,
            opset_version=opset,
            input_names=[tensor.name for tensor in flat],
            output_names=[tensor.name for tensor in outputs],
        )
        optimise(model)
    name_axes(model, flat, outputs)
    return model


def name_axes(
    model: ir.Model, inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]
) -> None:
    """Give a graph's inputs and outputs their names and axes, in place.

    If two outputs are equal, the optimiser may rename one of them.
    """
    for value, tensor in zip(model.graph.inputs, inputs, strict=True):
        value.shape = ir.Shape(tensor.axes)
    for value, tensor in zip(model.graph.outputs, outputs, strict=True):
        value.name = tensor.name
        value.shape = ir.Shape(tensor.axes)


def _nested(entry: GraphTensor | Sequence[GraphTensor], make: Any) -> Any:
    return make(entry) if isinstance(entry, GraphTensor) else [make(tensor) for tensor in entry]


def _example(tensor: GraphTensor) -> Tensor:
    """A small input; sizes differ between axes, so that none is confused with another."""
    shape = [_EXAMPLE[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
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
def _no_cache() -> Iterator[None]:
    """Disable the cache of results: with dynamic shapes, a look-up takes longer than computing."""
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about packages it can do without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
