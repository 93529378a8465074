"""``itr-deploy evaluate``: the field's protocol on a split."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.output import print_json


@click.command("evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt.",
)
@click.option("--split", default="test", show_default=True, help="Which split to evaluate.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("evaluation"),
    show_default=True,
    help="Directory of the report. An unfinished evaluation there is continued.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=1),
    default=1,
    help="Also average over so many folds of the images: 5 for MS-COCO's 1K figures.",
)
@click.option("--save-scores", is_flag=True, help="Keep the score matrix, scores/scores.npy.")
@click.option("--force", is_flag=True, help="Replace a finished evaluation.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    bundle: Path,
    data: Path,
    split: str,
    output: Path,
    folds: int,
    save_scores: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Score every image of a split with every caption and report Recall@K.

    Stopped or killed, the same command goes on where it was.
    """
    from itr_deploy.cli.evaluation_bar import pair_bar
    from itr_deploy.cli.evaluation_table import print_evaluation
    from itr_deploy.evaluation.dataset import read_split
    from itr_deploy.evaluation.evaluate import REPORT, Options, evaluate
    from itr_deploy.runtime import Matcher

    matcher = Matcher.load(bundle)
    read = read_split(data, split)
    options = Options(folds=folds, save_scores=save_scores, force=force)
    with pair_bar("scoring pairs") as bar:
        report = evaluate(matcher, read, output, options, bar)
    if as_json:
        print_json(report)
    else:
        print_evaluation(report)
        click.echo(f"report: {output / REPORT}")
