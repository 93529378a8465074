"""``itr-deploy evaluate``: the field's protocol on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import itr_deploy
from itr_deploy.cli.evaluation_table import print_evaluation
from itr_deploy.cli.options import (
    Backend,
    Baseline,
    Bundle,
    Checkpoints,
    Data,
    Device,
    FollowLinks,
    Force,
    Json,
    LogFormat,
    Quiet,
    Split,
    Threads,
    Verbose,
    check_baseline,
)
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import pair_bar
from itr_deploy.errors import UsageError

MergeKind = Literal["published", "order"]
DataSet = Literal["f30k", "coco"]
RERANK_PANEL = "Re-ranking"

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    bundle: Bundle,
    *,
    data: Data,
    split: Split = "test",
    output: Annotated[
        Path,
        typer.Option(help="Directory of the report. An unfinished evaluation there is continued."),
    ] = Path("evaluation"),
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Score every pair; the default.")
    ] = False,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Score only so many items per query, shortlisted by the coarse embedding."
        ),
    ] = None,
    steps: Annotated[
        bool,
        typer.Option("--steps", help="Also the Recall@K of every matching step."),
    ] = False,
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank",
            help="Re-rank the best of every query and merge both directions, as the published "
            "evaluation of re-rankers does.",
            rich_help_panel=RERANK_PANEL,
        ),
    ] = False,
    merge: Annotated[
        MergeKind | None,
        typer.Option(
            help="Write the new scores into the matcher's as they are (published, the default), "
            "or hand the matcher's out anew in the new order, where its scores are no cosines.",
            rich_help_panel=RERANK_PANEL,
        ),
    ] = None,
    image_neighbours: Annotated[
        Path | None,
        typer.Option(
            help="Neighbour lists of the images (.npz) instead of pooled embeddings.",
            rich_help_panel=RERANK_PANEL,
        ),
    ] = None,
    text_neighbours: Annotated[
        Path | None,
        typer.Option(
            help="The same of the captions, called by their image's id, '#' and their number.",
            rich_help_panel=RERANK_PANEL,
        ),
    ] = None,
    mean_with: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Rank by the mean with the scores of another evaluation of the same images and "
            "captions, made with --save-scores. Several are allowed.",
        ),
    ] = None,
    baseline: Baseline = None,
    checkpoints: Checkpoints = None,
    images: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Directory of pictures called as the split's ids, for the page's examples.",
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Also average over so many folds of the images: 5 for MS-COCO's 1K figures.",
        ),
    ] = 1,
    first: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Only the first N captions and their images; published dev figures are of 5000.",
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The captions, as Karpathy's JSON: dataset_coco.json. Default: the split's files.",
        ),
    ] = None,
    published: Annotated[
        DataSet | None,
        typer.Option(
            help="Which test set the split is, to show the published figures on it: Flickr30K, or "
            "MS-COCO's 5,000 images, with --folds 5 its 1K figures too."
        ),
    ] = None,
    save_scores: Annotated[
        bool, typer.Option("--save-scores", help="Keep the score matrix, scores/scores.npy.")
    ] = False,
    force: Force = False,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Score the images of a split with its captions and report Recall@K both ways.

    Stopped or killed, the same command goes on where it was.
    """
    if exhaustive and candidates is not None:
        raise UsageError("--exhaustive scores every pair and --candidates does not; give one")
    check_baseline(baseline, checkpoints)
    with pair_bar() as bar:
        report = itr_deploy.evaluate(
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
            mean_with=mean_with or (),
            checkpoints=checkpoints or (),
            images=images,
            folds=folds,
            first=first,
            captions=captions,
            published=published,
            save_scores=save_scores,
            force=force,
            device=device,
            backend=backend,
            bar=bar,
        )
    if as_json:
        print_json(report.model_dump())
        return
    from itr_deploy.evaluation.directory import PAGE, REPORT

    print_evaluation(report)
    typer.echo(f"report: {output / REPORT}, {output / PAGE}")
