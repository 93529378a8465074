"""``itr-deploy check``: what TensorRT would refuse in a bundle, before an engine is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import print_json
from itr_deploy.errors import EngineError

if TYPE_CHECKING:
    from itr_deploy.engines.files import EngineTarget


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
def command(bundle: Path, target: EngineTarget, as_json: bool) -> None:
    """Check BUNDLE's graphs against what TensorRT is known to refuse.

    Where the target's library is installed its parser reads every graph too; no GPU is needed.
    """
    from itr_deploy.deploy.checking import check
    from itr_deploy.engines.library import MODULES

    checked = check(bundle, target=target)
    if as_json:
        print_json(checked.to_json())
    else:
        for finding in checked.findings:
            click.echo(str(finding))
        parsed = checked.parsed_by
        said = (
            f"parsed by {parsed}" if parsed else f"not parsed: {MODULES[target]} is not installed"
        )
        click.echo(f"{checked.graphs} graphs, {checked.rules} rules, {said}")
    if checked.findings:
        raise EngineError(
            f"{bundle}: {len(checked.findings)} findings keep {target} from taking its graphs"
        )
