"""``itr-deploy tune``: writes a projection and the widths of a search into the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import itr_deploy
from itr_deploy.bundle.modality import direction_title
from itr_deploy.cli.options import (
    Backend,
    Bundle,
    Data,
    Device,
    FollowLinks,
    Json,
    LogFormat,
    Quiet,
    Split,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.cli.progress import pair_bar

if TYPE_CHECKING:
    from itr_deploy.evaluation.tuning.projection import Trial
    from itr_deploy.evaluation.tuning.tune import Tuned

ProjectionChoice = Literal["auto", "none"]

app = typer.Typer(add_completion=False)


@app.command()
def tune(
    bundle: Bundle,
    *,
    data: Data,
    split: Split = "dev",
    target: Annotated[
        float,
        typer.Option(help="Share of the exhaustive top 10 that the shortlist must keep, up to 1."),
    ] = 0.99,
    growth: Annotated[
        float,
        typer.Option(
            min=1,
            help="How many times the split's items the galleries have that will be searched; the "
            "widths grow in proportion.",
        ),
    ] = 1.0,
    projection: Annotated[
        ProjectionChoice,
        typer.Option(
            help="Fit a bilinear form between the coarse embeddings and take it where it "
            "shortlists clearly better than they do, or leave them as they are."
        ),
    ] = "auto",
    work: Annotated[
        Path,
        typer.Option(
            help="Directory of the scores while they are computed, or of an evaluation of the "
            "same split made with --save-scores."
        ),
    ] = Path("tuning"),
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Write the cheapest shortlists that keep --target of the exhaustive top 10 into BUNDLE.

    They are a projection of the coarse embeddings, where one is clearly better than none, and the
    widths: where the bundle has a prefilter, the width that it reads and the width that it leaves
    for the matcher. Tune on another split than the one whose figures are reported. Stopped or
    killed, the same command goes on where it was.
    """
    with pair_bar() as bar:
        found = itr_deploy.tune(
            bundle,
            data=data,
            split=split,
            target=target,
            growth=growth,
            projection=projection,
            work=work,
            device=device,
            backend=backend,
            bar=bar,
        )
    if as_json:
        from dataclasses import asdict

        queries = {f"{query}_query": asdict(tuned) for query, tuned in found.items()}
        print_json({"target": target, "growth": growth, **queries})
        return
    if not found:
        return  # a warning has said why
    for query, tuned in found.items():
        if tuned.projection is not None:
            _print_trial(direction_title(query), tuned.projection)
        elif projection == "auto":
            typer.echo(f"{direction_title(query)}: the split is too small to fit a projection")
    print_table(
        f"shortlists that keep {100 * target:g} %",
        ("", "items", "width before", "of the top 10", "width now", "of the top 10"),
        (_row(direction_title(query), tuned) for query, tuned in found.items()),
    )
    typer.echo(f"written to {bundle}")


def _print_trial(name: str, trial: Trial) -> None:
    verdict = "the projection is taken" if trial.taken else "the plain embeddings stay"
    print_table(
        f"{name}, of the top 10 of {trial.items} items that were not fitted: {verdict}",
        ("shortlist", "plain", "projected"),
        (
            [f"{kept.width}", f"{100 * kept.plain:.1f} %", f"{100 * kept.projected:.1f} %"]
            for kept in trial.kept
        ),
    )


def _row(name: str, tuned: Tuned) -> list[str]:
    return [
        name,
        f"{tuned.items}",
        _widths(tuned.prefilter_before, tuned.refine_before, tuned.before),
        f"{100 * tuned.share_before:.1f} %",
        _widths(tuned.prefilter, tuned.refine, tuned.width),
        f"{100 * tuned.share:.1f} %",
    ]


def _widths(prefilter: int | None, refine: int | None, candidates: int | None) -> str:
    narrow = "all" if candidates is None else str(candidates)
    if refine is not None:
        narrow = f"{narrow} of {refine} refined"
    return narrow if prefilter is None else f"{narrow} of {prefilter} prefiltered"
