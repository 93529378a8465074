"""The preflight: checks a graph or a bundle against the rules of a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx import NodeProto

from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.preflight.graph import GraphView
from itr_deploy.engines.preflight.rules import RULES, Target


@dataclass(frozen=True)
class Finding:
    """Something that a target refuses or computes wrongly.

    Attributes:
        graph: The graph's name in the bundle.
        rule: The rule of `RULES` that is broken.
        node: The node's name.
        operator: The node's operator.
        module: The part of the model that the node came from, if the exporter noted it.
        problem: What is wrong.
        remedy: What to do about it.
    """

    graph: str
    rule: str
    node: str
    operator: str
    module: str
    problem: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """JSON values for a report."""
        return asdict(self)

    def __str__(self) -> str:
        came = f" of {self.module}" if self.module else ""
        node = f"{self.operator} {self.node}{came}"
        return f"{self.graph}: {node}: {self.problem}; {self.remedy} [{self.rule}]"


def lint_graph(name: str, graph: GraphView, target: Target) -> Iterator[Finding]:
    """Findings in one graph."""
    for rule, check in RULES.items():
        for node, problem, remedy in check(graph, target):
            yield Finding(name, rule, node.name, node.op_type, module_of(node), problem, remedy)


def lint_bundle(bundle: AnyBundle, target: Target) -> list[Finding]:
    """Findings in all graphs of a bundle that a GPU may run."""
    found: list[Finding] = []
    for name, info in bundle.manifest.graphs.items():
        if info.is_for_cpu:
            continue
        found += lint_graph(name, GraphView.read(Path(bundle.file(info.file))), target)
    return found


def module_of(node: NodeProto) -> str:
    """Our innermost module in the exporter's note, ``a: class/a.b: class/op: aten``."""
    scopes = [entry.value for entry in node.metadata_props if entry.key == "namespace"]
    if not scopes:
        return ""
    parts = [part.split(": ") for part in scopes[0].split("/")]
    modules = [part[0] for part in parts[:-1] if part[0]]
    return modules[-1] if modules else ""
