"""``itr-deploy export leaprr``: a re-ranker added to a matcher's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from itr_deploy.cli.output import steps
from itr_deploy.cli.parity_table import print_made
from itr_deploy.models.registry import RerankerFamily


def reranker_command(family: RerankerFamily) -> click.Command:
    """The command that exports a re-ranker of this family."""
    text_rows, image_rows = family.rows
    options: list[click.Parameter] = [
        click.Option(
            ["--checkpoint"],
            required=True,
            type=click.Path(path_type=Path),
            help="The published program's checkpoint, for example checkpoint_best.pth.",
        ),
        click.Option(
            ["--base"],
            required=True,
            type=click.Path(path_type=Path),
            help="The bundle of the matcher whose rankings it was trained on.",
        ),
        click.Option(
            ["--output"],
            required=True,
            type=click.Path(path_type=Path),
            help="Directory of the bundle to make; the base's galleries open with it.",
        ),
        click.Option(
            ["--heads"],
            type=click.IntRange(1),
            default=family.heads,
            show_default=True,
            help="Heads of its attention, which the weights do not say.",
        ),
        click.Option(
            ["--rows-text-to-image", "text_rows"],
            type=click.IntRange(2),
            default=text_rows,
            show_default=True,
            help="K of a text query: itself and the K-1 images that are re-scored.",
        ),
        click.Option(
            ["--rows-image-to-text", "image_rows"],
            type=click.IntRange(2),
            default=image_rows,
            show_default=True,
            help="K of an image query: itself and the K-1 texts that are re-scored.",
        ),
        click.Option(
            ["--edge-thresholds", "thresholds"],
            type=click.Choice(("rows", "published")),
            default="rows",
            show_default=True,
            help=f"What an edge must exceed: {family.edge_share} / K, or the published program's "
            f"{family.edge_share} / {text_rows} and {family.edge_share} / {image_rows} whatever "
            "K is. The same at the published K.",
        ),
        click.Option(
            ["--pi"],
            type=click.Choice(("pooled", "lists")),
            default="pooled",
            show_default=True,
            help="Similarity within a modality in training: the cosine of the base's pooled "
            "embeddings, or lists of your own that are given with the gallery.",
        ),
        click.Option(["--force"], is_flag=True, help="Replace an existing bundle."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
    ]

    def run(**arguments: Any) -> None:
        _export(family, **arguments)

    return click.Command(
        family.name, callback=run, params=options, help=family.title, short_help=family.title
    )


def _export(
    family: RerankerFamily,
    checkpoint: Path,
    base: Path,
    output: Path,
    heads: int,
    text_rows: int,
    image_rows: int,
    thresholds: str,
    pi: str,
    force: bool,
    as_json: bool,
) -> None:
    with steps(quiet=False) as begin:
        from itr_deploy.deploy.reranker_exporting import export_reranker

        result = export_reranker(
            family.name,
            checkpoint=checkpoint,
            base=base,
            output=output,
            heads=heads,
            rows_text_to_image=text_rows,
            rows_image_to_text=image_rows,
            edge_thresholds=thresholds,  # type: ignore[arg-type]
            intra_similarity=pi,  # type: ignore[arg-type]
            force=force,
            progress=begin,
        )
    print_made(result, as_json)
