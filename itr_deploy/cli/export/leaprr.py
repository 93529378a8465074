"""``itr-deploy export leaprr``: a re-ranker added to a matcher's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import itr_deploy
from itr_deploy.cli.export.options import FAMILY_PANEL
from itr_deploy.cli.options import Force, Json, LogFormat, NewBundle, Quiet, Threads, Verbose
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.progress import steps


def leaprr(
    *,
    checkpoint: Annotated[
        Path,
        typer.Option(help="The published program's checkpoint, for example checkpoint_best.pth."),
    ],
    base: Annotated[
        Path,
        typer.Option(
            help="The bundle of the matcher whose rankings it was trained on; its galleries open "
            "with the new bundle."
        ),
    ],
    output: NewBundle,
    heads: Annotated[
        int,
        typer.Option(
            min=1,
            help="Heads of its attention, which the weights do not say.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = 24,
    rows_text_to_image: Annotated[
        int,
        typer.Option(
            min=2,
            help="K of a text query: itself and the K-1 images that are re-scored.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = 8,
    rows_image_to_text: Annotated[
        int,
        typer.Option(
            min=2,
            help="K of an image query: itself and the K-1 texts that are re-scored.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = 32,
    edge_thresholds: Annotated[
        Literal["rows", "published"],
        typer.Option(
            help="What an edge must exceed: 0.8 / K, or the published program's 0.8 / 8 and "
            "0.8 / 32 whatever K is. The same at the published K.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "rows",
    pi: Annotated[
        Literal["pooled", "lists"],
        typer.Option(
            help="Similarity within a modality in training: the cosine of the base's pooled "
            "embeddings, or lists of your own that are given with the gallery.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "pooled",
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Learnable Pillar-based Re-ranking (SIGIR 2023), added to a matcher's bundle."""
    with steps() as begin:
        made = itr_deploy.export_reranker(
            "leaprr",
            checkpoint=checkpoint,
            base=base,
            output=output,
            heads=heads,
            rows_text_to_image=rows_text_to_image,
            rows_image_to_text=rows_image_to_text,
            edge_thresholds=edge_thresholds,
            intra_similarity=pi,
            force=force,
            progress=begin,
        )
    print_made(made, as_json)
