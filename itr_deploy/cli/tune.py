"""``itr-deploy tune``: a projection and the widths of a search, written into the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.bundle.modality import direction_title
from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.evaluation.tuning.projection import Trial
    from itr_deploy.evaluation.tuning.tune import ProjectionChoice


@click.command("tune")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt.",
)
@click.option(
    "--split",
    default="dev",
    show_default=True,
    help="Which split to measure on; not the one whose figures are reported.",
)
@click.option(
    "--target",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.99,
    show_default=True,
    help="Share of the exhaustive top 10 that the shortlist must keep.",
)
@click.option(
    "--growth",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    help="How many times the split's items the galleries have that will be searched; the widths "
    "grow in proportion.",
)
@click.option(
    "--projection",
    type=click.Choice(("auto", "none")),
    default="auto",
    show_default=True,
    help="Fit a bilinear form between the coarse embeddings and take it where it shortlists "
    "clearly better than they do, or leave them as they are.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("tuning"),
    show_default=True,
    help="Directory of the scores while they are computed, or of an evaluation of the same split "
    "made with --save-scores.",
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path,
    data: Path,
    split: str,
    target: float,
    growth: float,
    projection: ProjectionChoice,
    work: Path,
    device: str,
    backend: str,
    as_json: bool,
) -> None:
    """Write the cheapest shortlists that keep --target of the exhaustive top 10 into BUNDLE.

    They are a projection of the coarse embeddings, where one is clearly better than none, and the
    widths: where the bundle has a prefilter, the width that it reads and the width that it leaves
    for the matcher. Stopped or killed, the same command goes on where it was.
    """
    from dataclasses import asdict

    from itr_deploy.cli.evaluation_bar import pair_bar
    from itr_deploy.deploy.tuning import tune

    with pair_bar() as bar:
        found = tune(
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
        queries = {f"{query}_query": asdict(tuned) for query, tuned in found.items()}
        print_json({"target": target, "growth": growth, **queries})
        return
    for query in found:
        if (trial := found[query].projection) is not None:
            _print_trial(direction_title(query), trial)
        elif projection == "auto":
            click.echo(f"{direction_title(query)}: the split is too small to fit a projection")
    rows = (
        [
            direction_title(query),
            f"{found[query].items}",
            _widths(found[query].prefilter_before, found[query].before),
            f"{100 * found[query].share_before:.1f} %",
            _widths(found[query].prefilter, found[query].width),
            f"{100 * found[query].share:.1f} %",
        ]
        for query in found
    )
    columns = ("", "items", "width before", "of the top 10", "width now", "of the top 10")
    print_table(f"shortlists that keep {100 * target:g} %", columns, rows)
    click.echo(f"written to {bundle}")


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


def _widths(prefilter: int | None, candidates: int | None) -> str:
    narrow = "all" if candidates is None else str(candidates)
    return narrow if prefilter is None else f"{narrow} of {prefilter} prefiltered"
