"""onnxscript's optimiser, with only those of its rules that can find something in a graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any

import onnx_ir as ir
import onnxscript.optimizer
from onnxscript import rewriter

from itr_deploy.exporters.instead import instead

LARGEST_CONSTANT = 1 << 31
"""Constant folding stops at weights of this many bytes; everything smaller is folded."""

_try_rewrite = rewriter.RewriteRule.try_rewrite


def optimise(model: ir.Model) -> None:
    """Fold a model's constants and simplify it, in place."""
    with _rules_for(model):
        onnxscript.optimizer.optimize(
            model, input_size_limit=LARGEST_CONSTANT, output_size_limit=LARGEST_CONSTANT
        )


@contextmanager
def _rules_for(model: ir.Model) -> Iterator[None]:
    """Leave out the rules for operators that a model does not have.

    A rule is tried at every node, and one of two outputs looks at all nodes each time: here only
    at nodes of the operator that it begins with. The rules have no public name; where they have
    another one, all are tried.
    """
    rules = getattr(rewriter, "_DEFAULT_REWRITE_RULES", None)
    if rules is None:
        yield
        return
    nodes = (model.graph.all_nodes(), *(made.all_nodes() for made in model.functions.values()))
    present = {node.op_type for node in chain.from_iterable(nodes)}
    rewriter._DEFAULT_REWRITE_RULES = tuple(r for r in rules if _operators(r) <= present)
    try:
        with instead("onnxscript.rewriter._rewrite_rule", "RewriteRule.try_rewrite", _tried):
            yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = rules


def _tried(rule: Any, model: ir.Model, graph: Any, node: ir.Node, **options: Any) -> Any:
    """`RewriteRule.try_rewrite`, which fails where the first operator is another one."""
    first = next(iter(_outputs(rule)), None)
    if first is not None and first != node.op_type:
        return None
    return _try_rewrite(rule, model, graph, node, **options)


def _operators(rule: Any) -> set[str]:
    """The operators whose outputs a rule replaces; none where it does not name one."""
    return {name for name in _outputs(rule) if name is not None}


@cache
def _outputs(rule: Any) -> tuple[str | None, ...]:
    """The operator of every output of a rule's pattern, None where it is not named."""
    pattern = getattr(rule, "_target_pattern", None)
    named = (node.op_identifier() for node in getattr(pattern, "output_nodes", ()))
    return tuple(None if identifier is None else identifier[1] for identifier in named)
