"""``itr-deploy profile-routes``: how much a model uses its routes on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Bundle, Data, Force, Json, LogFormat, Quiet, Split, Verbose
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.cli.progress import counted

if TYPE_CHECKING:
    from itr_deploy.models.dime.profile import RouteProfile

app = typer.Typer(add_completion=False)


@app.command()
def profile_routes(
    bundle: Bundle,
    *,
    data: Data,
    split: Split = "dev",
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many of its images, with all their captions."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            help="The profile to write; the picture lies beside it, with the ending .svg."
        ),
    ] = Path("routes.json"),
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Count how much the model of BUNDLE uses its routes.

    Scores all pairs of a split. The bundle's graphs must tell their gates: export it with --gates
    yes. The profile is what export's --prune-routes takes.
    """
    with counted("profiling pairs") as progress:
        profile = itr_deploy.profile_routes(
            bundle,
            data=data,
            split=split,
            images=images,
            output=output,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(profile.model_dump(mode="json"))
        return
    _print(profile)
    typer.echo(f"profile: {output}, picture: {output.with_suffix('.svg')}")


def _print(profile: RouteProfile) -> None:
    rows = [
        (
            f"{use.layer}",
            use.cell,
            use.path,
            f"{use.zero:.1%}",
            f"{use.mean:.3f}",
            f"{use.share:.3f}",
        )
        for use in profile.routes
    ]
    print_table(
        f"Gates over {profile.pairs:,} pairs",
        ("layer", "cell", "path", "is 0", "mean", "share"),
        rows,
    )
    print_table(
        "Skip connections",
        ("layer", "cell", "path", "taken", "share"),
        (
            (f"{use.layer}", use.cell, use.path, f"{use.used:.1%}", f"{use.share:.3f}")
            for use in profile.skips
        ),
    )
    routes = profile.keeping(0)
    typer.echo(
        f"never used: {len(routes.closed())} of {len(profile.routes)} gates, "
        f"cells {', '.join(routes.removed()) or 'none'}"
    )
