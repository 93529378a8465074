"""``itr-deploy check``: what TensorRT would refuse in a bundle, before an engine is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import needs_export_half, print_json
from itr_deploy.errors import EngineError

if TYPE_CHECKING:
    from itr_deploy.engines.preflight import Target


@click.command("check")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(("tensorrt", "tensorrt-rtx")),
    default="tensorrt",
    show_default=True,
    help="Which builder the engines are for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(bundle: Path, target: Target, as_json: bool) -> None:
    """Check BUNDLE's graphs against what TensorRT is known to refuse.

    Where the target's library is installed its parser reads every graph too; no GPU is needed.
    """
    from itr_deploy.bundle.store import read_bundle

    with needs_export_half():
        from itr_deploy.engines.preflight import RULES, lint_bundle
        from itr_deploy.engines.preflight.parse import parse_bundle
    from itr_deploy.engines.library import MODULES, import_library, installed

    opened = read_bundle(bundle)
    library = import_library(target) if installed(target) else None
    found = lint_bundle(opened, target)
    if library is not None:
        found += parse_bundle(opened, library)
    parsed = None if library is None else f"{library.__name__} {library.__version__}"
    if as_json:
        findings = [finding.to_json() for finding in found]
        print_json({"target": target, "parsed_by": parsed, "findings": findings})
    else:
        for finding in found:
            click.echo(str(finding))
        said = (
            f"parsed by {parsed}" if parsed else f"not parsed: {MODULES[target]} is not installed"
        )
        click.echo(f"{len(opened.manifest.graphs)} graphs, {len(RULES)} rules, {said}")
    if found:
        raise EngineError(f"{bundle}: {len(found)} findings keep {target} from taking its graphs")
