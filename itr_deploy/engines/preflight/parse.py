"""A real parse by TensorRT, if it is installed; it needs no GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.builder.network import Refusal, parse_graph
from itr_deploy.engines.preflight.graph import GraphView
from itr_deploy.engines.preflight.lint import Finding, lint_graph, module_of
from itr_deploy.engines.preflight.rules import Target
from itr_deploy.engines.tensorrt_api import TensorRT


def parse_bundle(bundle: AnyBundle, trt: TensorRT) -> list[Finding]:
    """The parser's findings in the graphs that a GPU may run; empty if it accepts all of them.

    Args:
        bundle: The bundle.
        trt: The library, from `itr_deploy.engines.library.import_library`.
    """
    found: list[Finding] = []
    for name, info in bundle.manifest.graphs.items():
        if info.is_for_cpu:
            continue
        path = bundle.file(info.file)
        refusals = parse_graph(trt, path).refusals
        if refusals:
            found += _findings(name, path, refusals, trt)
    return found


def explain(
    graph: str, path: Path, refusals: Iterable[Refusal], trt: TensorRT, target: Target
) -> list[Finding]:
    """The parser's complaints about a graph, and the rules that the graph breaks."""
    said = _findings(graph, path, refusals, trt)
    return [*said, *lint_graph(graph, GraphView.read(path), target)]


def _findings(graph: str, path: Path, refusals: Iterable[Refusal], trt: TensorRT) -> list[Finding]:
    model = onnx.load(path, load_external_data=False)
    nodes = {node.name: node for node in model.graph.node}
    remedy = f"refused by {trt.__name__} {trt.__version__}"
    return [
        Finding(
            graph,
            "parser",
            refusal.node,
            refusal.operator,
            module_of(nodes[refusal.node]) if refusal.node in nodes else "",
            refusal.problem,
            remedy,
        )
        for refusal in refusals
    ]
