"""``itr-deploy check``: what TensorRT would reject in a bundle, before an engine is built."""

from __future__ import annotations

from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Bundle,
    EngineTarget,
    FollowLinks,
    Json,
    LogFormat,
    Quiet,
    Verbose,
)
from itr_deploy.cli.output import print_json
from itr_deploy.errors import EngineError

app = typer.Typer(add_completion=False)


@app.command()
def check(
    bundle: Bundle,
    *,
    target: Annotated[EngineTarget, typer.Option(help="Which builder the engines are for.")] = (
        "tensorrt"
    ),
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Check BUNDLE's graphs against what TensorRT is known to refuse.

    Where the target's library is installed its parser reads every graph too; no GPU is needed.
    """
    checked = itr_deploy.check(bundle, target=target)
    if as_json:
        print_json(checked.to_json())
    else:
        from itr_deploy.engines.library import MODULES

        for finding in checked.findings:
            typer.echo(str(finding))
        parsed = checked.parsed_by
        said = (
            f"parsed by {parsed}" if parsed else f"not parsed: {MODULES[target]} is not installed"
        )
        typer.echo(f"{checked.graphs} graphs, {checked.rules} rules, {said}")
    if checked.findings:
        raise EngineError(
            f"{bundle}: {len(checked.findings)} findings keep {target} from taking its graphs"
        )
