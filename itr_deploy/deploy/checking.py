"""`check`: what TensorRT would refuse in a bundle, before an engine is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itr_deploy.bundle.store import read_any_bundle
from itr_deploy.deploy.export_half import export_half
from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.library import import_library, installed
from itr_deploy.values import PATH, checked, choice

if TYPE_CHECKING:
    from itr_deploy.engines.preflight import Finding


@dataclass(frozen=True)
class Checked:
    """The result of checking a bundle's graphs.

    Attributes:
        target: Target of the engines to build.
        parsed_by: The library whose parser read every graph, None if it is not installed.
        graphs: Number of graphs that were read, all but those for a CPU alone.
        rules: Number of rules that they were checked against.
        findings: What the target would refuse; empty if it accepts everything.
    """

    target: EngineTarget
    parsed_by: str | None
    graphs: int
    rules: int
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        findings = [finding.to_json() for finding in self.findings]
        return {"target": self.target, "parsed_by": self.parsed_by, "findings": findings}


@checked(
    bundle=PATH,
    target=choice(EngineTarget),
)
def check(bundle: str | Path, *, target: EngineTarget = "tensorrt") -> Checked:
    """Check a bundle's graphs against what TensorRT is known to refuse.

    If the target's library is installed, its parser also reads every graph; no GPU is needed.

    Args:
        bundle: The bundle's directory; a region detector's too.
        target: ``"tensorrt"`` or ``"tensorrt-rtx"``.

    Raises:
        BundleError: The bundle is damaged.
        SetupError: onnx is not installed, or the target's library is installed but does not load.
    """
    opened = read_any_bundle(Path(bundle))
    with export_half():
        from itr_deploy.engines.preflight import RULES, lint_bundle
        from itr_deploy.engines.preflight.parse import parse_bundle
    library = import_library(target) if installed(target) else None
    found = lint_bundle(opened, target)
    if library is not None:
        found += parse_bundle(opened, library)
    parsed = None if library is None else f"{library.__name__} {library.__version__}"
    graphs = sum(not graph.is_for_cpu for graph in opened.manifest.graphs.values())
    return Checked(target, parsed, graphs, len(RULES), tuple(found))
