"""``itr-deploy tune``: the widths of a search, measured and written into the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Modality

DIRECTIONS: dict[Modality, str] = {"text": "text to image", "image": "image to text"}


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
    work: Path,
    device: str,
    backend: str,
    as_json: bool,
) -> None:
    """Write the cheapest shortlist widths that keep --target of the exhaustive top 10 into BUNDLE.

    Where the bundle has a prefilter, they are the width that the prefilter reads and the width that
    it leaves for the matcher. The widths are for galleries of the split's size. Stopped or killed,
    the same command goes on where it was.
    """
    from dataclasses import asdict

    from itr_deploy.cli.evaluation_bar import pair_bar
    from itr_deploy.evaluation.dataset import read_split
    from itr_deploy.evaluation.tune import tune
    from itr_deploy.runtime import Matcher

    matcher = Matcher.load(bundle, device=device, backend=backend)
    read = read_split(data, split)
    with pair_bar() as bar:
        found = tune(matcher, read, target, work, bar)
    if as_json:
        print_json({"target": target, **{f"{q}_query": asdict(t) for q, t in found.items()}})
        return
    rows = (
        [
            name,
            f"{found[query].items}",
            _widths(found[query].prefilter_before, found[query].before),
            f"{100 * found[query].share_before:.1f} %",
            _widths(found[query].prefilter, found[query].width),
            f"{100 * found[query].share:.1f} %",
        ]
        for query, name in DIRECTIONS.items()
    )
    columns = ("", "items", "width before", "of the top 10", "width now", "of the top 10")
    print_table(f"shortlists that keep {100 * target:g} %", columns, rows)
    click.echo(f"written to {bundle}")


def _widths(prefilter: int | None, candidates: int | None) -> str:
    narrow = "all" if candidates is None else str(candidates)
    return narrow if prefilter is None else f"{narrow} of {prefilter} prefiltered"
