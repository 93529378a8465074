"""``itr-deploy evaluate``: the field's protocol on a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import print_json

if TYPE_CHECKING:
    from itr_deploy.evaluation.measures.reranking import MergeKind


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
@click.option("--exhaustive", is_flag=True, help="Score every pair; the default.")
@click.option(
    "--candidates",
    type=click.IntRange(min=1),
    help="Score only so many items a query, shortlisted by the coarse embedding.",
)
@click.option("--steps", is_flag=True, help="Also the Recall@K of every matching step.")
@click.option(
    "--rerank",
    is_flag=True,
    help="Re-rank the best of every query and merge both directions, as the published evaluation "
    "of re-rankers does.",
)
@click.option(
    "--merge",
    type=click.Choice(("published", "order")),
    help="For --rerank: write the new scores into the matcher's as they are (published, the "
    "default), or hand the matcher's out anew in the new order, where its scores are no cosines.",
)
@click.option(
    "--image-neighbours",
    type=click.Path(path_type=Path),
    help="For --rerank: neighbour lists of the images (.npz) instead of pooled embeddings.",
)
@click.option(
    "--text-neighbours",
    type=click.Path(path_type=Path),
    help="The same of the captions, called by their image's id, '#' and their number.",
)
@click.option(
    "--baseline",
    type=click.Choice(("torch",)),
    help="Also score with the PyTorch model and report the difference of every figure.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The checkpoint for --baseline; of an ensemble one a member, in their order; with "
    "--rerank the re-ranker's last.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of pictures called as the split's ids, for the page's examples.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=1),
    default=1,
    help="Also average over so many folds of the images: 5 for MS-COCO's 1K figures.",
)
@device_options
@click.option("--save-scores", is_flag=True, help="Keep the score matrix, scores/scores.npy.")
@click.option("--force", is_flag=True, help="Replace a finished evaluation.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    bundle: Path,
    data: Path,
    split: str,
    output: Path,
    exhaustive: bool,
    candidates: int | None,
    steps: bool,
    rerank: bool,
    merge: MergeKind | None,
    image_neighbours: Path | None,
    text_neighbours: Path | None,
    baseline: str | None,
    checkpoints: tuple[Path, ...],
    images: Path | None,
    folds: int,
    device: str,
    backend: str,
    save_scores: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Score the images of a split with its captions and report Recall@K both ways.

    Stopped or killed, the same command goes on where it was.
    """
    if exhaustive and candidates is not None:
        raise click.UsageError("--exhaustive scores every pair and --candidates does not; give one")
    if (baseline is None) != (not checkpoints):
        raise click.UsageError("--baseline torch and --checkpoint go together")
    from itr_deploy.cli.evaluation_bar import pair_bar
    from itr_deploy.cli.evaluation_table import print_evaluation
    from itr_deploy.deploy.evaluating import evaluate
    from itr_deploy.evaluation.directory import PAGE, REPORT

    with pair_bar() as bar:
        report = evaluate(
            bundle,
            data=data,
            split=split,
            output=output,
            candidates=candidates,
            steps=steps,
            rerank=rerank,
            merge=merge,
            image_neighbours=image_neighbours,
            text_neighbours=text_neighbours,
            checkpoints=checkpoints,
            images=images,
            folds=folds,
            save_scores=save_scores,
            force=force,
            device=device,
            backend=backend,
            bar=bar,
        )
    if as_json:
        print_json(report)
    else:
        print_evaluation(report)
        click.echo(f"report: {output / REPORT}, {output / PAGE}")
