"""PyTorch's exporter without work that leaves no mark on a graph: half of the time of a trace.

Each way replaces a function of PyTorch for a while, by a name that is not public. Where a release
lacks it, PyTorch's own way is gone instead: it takes longer, to the same graph. `tests/exporters`
compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from threading import get_ident
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from itr_deploy.exporters.fake_results import FakeResults, Rule, composite_rules
from itr_deploy.exporters.instead import instead, instead_of_kernel
from itr_deploy.exporters.read_later import script

ADDED = frozenset({"aten::_to_copy", "aten::scalar_tensor", "prims::convert_element_type"})
"""Operators that promoting types adds to a graph."""


@contextmanager
def quick_capture() -> Iterator[None]:
    """Trace without what is read by nobody here.

    - Of no value it is asked whether it lies in memory in one of PyTorch's orders, and of none that
      two make an element at a time in which order theirs lie: it is the usual one. Both are
      algebra with the symbols of the sizes.
    - Where in the source an operator stands is not noted, and a symbol is not told apart by it.
    - Results whose sizes are seen are not asked of PyTorch, see `fake_results`.
    - No Python is written for a graph each time that it has changed: see `with_code`.

    What PyTorch does in other threads meanwhile is left as it is.
    """
    results = FakeResults(FakeTensorMode.dispatch)
    recompile = torch.fx.GraphModule.recompile
    fake, prims = "torch._subclasses.fake_tensor", "torch._prims_common"
    with ExitStack() as stack:
        for module, name, value in (
            ("torch.fx.experimental.proxy_tensor", "_extract_tensor_metadata", _nothing),
            (prims, "compute_elementwise_output_logical_to_physical_perm", _usual),
            ("torch.fx.config", "do_not_emit_stack_traces", True),
            ("torch.fx.experimental.symbolic_shapes", "uninteresting_files", frozenset),
            (fake, "FakeTensorMode.dispatch", _here(results.dispatch, FakeTensorMode.dispatch)),
            ("torch.fx.graph_module", "GraphModule.recompile", _here(_without_code, recompile)),
        ):
            stack.enter_context(instead(module, name, value))
        for operator, rule in composite_rules().items():
            stack.enter_context(instead_of_kernel(operator, partial(_kernel, results, rule)))
        yield


def with_code(program: ExportedProgram) -> ExportedProgram:
    """A program of `quick_capture` that can be run, once more with the Python of its graphs."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            module.recompile()
    return program


def _without_code(module: torch.fx.GraphModule) -> None:
    """`GraphModule.recompile`, but for the Python: how its arguments and results are nested."""
    nested = getattr(module.graph._codegen, "pytree_info", None)
    if nested is not None:
        module._in_spec, module._out_spec = nested.in_spec, nested.out_spec


def _kernel(results: FakeResults, rule: Rule, usual: Callable[..., Any]) -> Callable[..., Any]:
    return _here(results.kernel(rule, usual), usual)


def _here(ours: Callable[..., Any], usual: Callable[..., Any]) -> Callable[..., Any]:
    """A function, or method of a class, that is ours in this thread and the usual one in others."""
    thread = get_ident()

    def method(*given: Any, **named: Any) -> Any:
        return (ours if get_ident() == thread else usual)(*given, **named)

    return method


def _usual(*tensors: Any, **named: Any) -> tuple[list[int], bool]:
    """`compute_elementwise_output_logical_to_physical_perm` where the last axis lies inmost."""
    axes = max((tensor.ndim for tensor in tensors if isinstance(tensor, torch.Tensor)), default=0)
    return list(range(axes)), False


@contextmanager
def quick_translation(program: ExportedProgram) -> Iterator[None]:
    """Translate a program whose operators ONNX has all.

    - It is not decomposed: that traces it once more.
    - Types are promoted as ever, but what that does not change is not computed anew.
    - Of the two thousand operators that PyTorch knows to translate, only the program's are read.

    An operator that is missing raises what an unknown one does.
    """
    exporter = "torch.onnx._internal.exporter"
    promotion = "torch.onnx._internal.fx.passes.type_promotion"
    with ExitStack() as stack:

        def replace(module: str, name: str, value: Any) -> None:
            stack.enter_context(instead(module, name, value))

        replace(f"{exporter}._fx_passes", "decompose_with_registry", lambda given, _: given)
        replace(promotion, "_TypePromotionInterpreter.run_node", _promoted)
        replace(f"{exporter}._registration", "onnxscript_apis", _Library(operators_of(program)))
        yield


def operators_of(program: ExportedProgram) -> frozenset[str]:
    """The operators of a program and of its subgraphs, without overloads: ``aten::mul``."""
    targets = {
        node.target
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
    }
    return frozenset(map(_name, targets)) | ADDED


def _name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name
    return f"{getattr(target, '__module__', '')}::{getattr(target, '__name__', '')}"


class _Library:
    """onnxscript's functions for PyTorch, with only some of the translations.

    Reading one means parsing its source.
    """

    def __init__(self, operators: Iterable[str]) -> None:
        self._operators = operators
        self._all = import_module("torch.onnx._internal._lazy_import").onnxscript_apis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    def get_torchlib_ops(self) -> list[_Translation]:
        """The translations of the operators."""
        with instead("onnxscript", "script", script):
            import_module("onnxscript.function_libs.torch_lib.ops")  # which registers them
        registry = import_module("onnxscript.function_libs.torch_lib.registration").default_registry
        return [
            _Translation(name, function, is_complex)
            for name, found in registry.items()
            if name.split(".")[0] in self._operators
            for is_complex, functions in ((False, found.overloads), (True, found.complex))
            for function in functions
        ]


@dataclass(frozen=True)
class _Translation:
    """A function that translates an operator, as PyTorch takes it from onnxscript."""

    qualified_name: str
    function: Callable[..., Any]
    is_complex: bool


def _promoted(interpreter: Any, node: Node) -> Any:
    """`_TypePromotionInterpreter.run_node`, with the value of the trace where nothing changed."""
    passes = import_module("torch.onnx._internal.fx.passes.type_promotion")
    before = node.target, node.args, node.kwargs
    with interpreter._set_current_node(node):
        rule = passes.get_type_promotion_rule(node, interpreter.type_promotion_table)
        if rule is not None:
            interpreter._maybe_promote_node(node, rule)
    if "val" in node.meta and (node.target, node.args, node.kwargs) == before:
        return node.meta["val"]
    return Interpreter.run_node(interpreter, node)


def _nothing(*given: Any, **named: Any) -> None:
    return None
