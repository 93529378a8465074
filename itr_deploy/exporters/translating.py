"""PyTorch's graph of a module as ONNX, without the decomposition that it seldom needs.

`torch.onnx.export` traces a graph twice more, to decompose operators that ONNX does not have: half
of an export's time. Of those in our modules nearly all are casts, which PyTorch has under another
name that needs no decomposition. A graph with others goes the usual way.
"""

from __future__ import annotations

import logging
from typing import Any

import onnx_ir as ir
import torch
import torch.fx.experimental._config
from torch import nn
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo

from itr_deploy.exporters.shortcuts import quick_capture, quick_translation, with_code

log = logging.getLogger(__name__)


def captured(
    module: nn.Module, example: tuple[Any, ...], dynamic_shapes: dict[str, Any]
) -> ExportedProgram:
    """A module's graph, of whose dynamic axes nothing is assumed.

    By default a branch that depends on a size goes the way of the example, and the graph is then
    that of such sizes alone: "what is beyond the 32nd column" becomes "nothing".

    Args:
        module: The module.
        example: Arguments of its forward.
        dynamic_shapes: Their dynamic axes, as `torch.export.export` takes them.
    """
    oblivious = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with oblivious:
        try:
            with quick_capture():
                program = _exported(module, example, dynamic_shapes)
            return with_code(program)
        except Exception as error:  # of a release that reads what is left out
            log.debug("to be traced in full: %s", error)
        return _exported(module, example, dynamic_shapes)


def _exported(
    module: nn.Module, example: tuple[Any, ...], dynamic_shapes: dict[str, Any]
) -> ExportedProgram:
    return torch.export.export(module, example, dynamic_shapes=dynamic_shapes, strict=False)


def translated(program: ExportedProgram, **options: Any) -> ir.Model:
    """An exported program as an ONNX model.

    Args:
        program: What `torch.export.export` made; it is changed.
        **options: Those of `torch.onnx.export`.

    Raises:
        torch.onnx.OnnxExporterError: It cannot be translated.
    """
    if not _changes_tensors(program) and not _is_bounded(program):
        _rename(program)
        try:
            with quick_translation(program):
                return _export(program, options)
        except torch.onnx.OnnxExporterError as error:
            log.debug("to be decomposed: %s", error)
    return _export(program, options)


def _export(program: ExportedProgram, options: dict[str, Any]) -> ir.Model:
    found = torch.onnx.export(
        program,
        dynamo=True,
        optimize=False,  # done afterwards with larger constants; twice would take twice the time
        verbose=False,
        **options,
    )
    assert found is not None
    return found.model


def _changes_tensors(program: ExportedProgram) -> bool:
    """Whether an operator works in place, which only a decomposition takes out."""
    schemas = (getattr(node.target, "_schema", None) for node in program.graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)


def _is_bounded(program: ExportedProgram) -> bool:
    """Whether the graph is that of some sizes alone; the decomposition traces it anew."""
    return any(bound.upper < int_oo for bound in program.range_constraints.values())


def _rename(program: ExportedProgram) -> None:
    """Call casts, and differences from a number, by names that need no decomposition."""
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.kwargs or len(node.args) != 2:
            continue
        tensor, other = node.args
        if node.target is aten.to.dtype:
            node.target, node.args, node.kwargs = aten._to_copy.default, (tensor,), {"dtype": other}
        elif node.target is aten.rsub.Scalar:
            node.target, node.args = aten.sub.Tensor, (other, tensor)
