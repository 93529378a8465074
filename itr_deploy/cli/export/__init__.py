"""``itr-deploy export FAMILY``: from a checkpoint to a verified bundle.

A family whose options are known has its own function; one that is only registered is exported by
`itr_deploy.cli.export.registered`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from itr_deploy.cli.export.camera import camera
from itr_deploy.cli.export.dime import dime
from itr_deploy.cli.export.imram import imram
from itr_deploy.cli.export.leaprr import leaprr
from itr_deploy.cli.export.lhsc import lhsc
from itr_deploy.cli.export.regions import regions
from itr_deploy.cli.export.registered import registered_command, registered_reranker_command
from itr_deploy.cli.export.scan import scan
from itr_deploy.cli.export.sgraf import sgraf
from itr_deploy.cli.export.vse_infty import vse_infty
from itr_deploy.cli.export.vsrn import vsrn
from itr_deploy.errors import UsageError
from itr_deploy.models import registry


class Families(TyperGroup):
    """The families with a function of their own, then all others and re-rankers registered."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for family in registry.FAMILIES:
            if family.name not in self.commands:
                self.add_command(registered_command(family))
        for reranker in registry.RERANKERS:
            if reranker.name not in self.commands:
                self.add_command(registered_reranker_command(reranker))


app = typer.Typer(cls=Families, add_completion=False)
for function in (imram, lhsc, dime, scan, sgraf, vsrn, vse_infty, camera, leaprr, regions):
    app.command(function.__name__)(function)


@app.callback(invoke_without_command=True)
def export(context: typer.Context) -> None:
    """Turn a trained checkpoint into a bundle.

    That of a matcher, a re-ranker or, with regions, a detector. The bundle is compared with PyTorch
    before it appears; exit code 3 if it differs.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UsageError.exit_code)
