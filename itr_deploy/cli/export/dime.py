"""``itr-deploy export dime``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from itr_deploy.cli.export.options import FAMILY_PANEL, Dtype, Opset, Quantize, Vocab
from itr_deploy.cli.export.run import export_matcher
from itr_deploy.cli.options import (
    Checkpoint,
    Force,
    Json,
    LogFormat,
    NewBundle,
    Quiet,
    Threads,
    Verbose,
)
from itr_deploy.models.registry import DEFAULT_OPSET


def dime(
    *,
    checkpoint: Checkpoint,
    vocab: Vocab,
    output: NewBundle,
    bert_config: Annotated[
        Path | None,
        typer.Option(
            help="The bert_config.json of the text encoder's BERT; bert-base-uncased's sizes "
            "without it.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = None,
    gates: Annotated[
        Literal["no", "yes"],
        typer.Option(
            help="Whether the matcher graphs also give the routers' gates of every pair.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "no",
    prune_routes: Annotated[
        Path | None,
        typer.Option(
            help="A profile of itr-deploy profile-routes: what it never saw used is left out.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Largest mean share of a sum that a pruned gate may have had. At 0 scores stay "
            "exact on the profiled data; above, what changes there is reported.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = 0.0,
    profiled_data: Annotated[
        Path | None,
        typer.Option(
            help="Where the profiled data is, if not where it was when it was profiled.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = None,
    opset: Opset = DEFAULT_OPSET,
    dtype: Dtype = "float32",
    quantize: Quantize = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Dynamic Modality Interaction Modeling (SIGIR 2021)."""
    common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
    export_matcher(
        "dime",
        *common,
        bert_config=bert_config,
        gates=gates,
        prune_routes=prune_routes,
        threshold=threshold,
        profiled_data=profiled_data,
    )
