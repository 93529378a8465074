"""``itr-deploy export imram``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from itr_deploy.cli.export.options import FAMILY_PANEL, Dtype, Opset, Punkt, Quantize, Vocab
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


def imram(
    *,
    checkpoint: Checkpoint,
    vocab: Vocab,
    output: NewBundle,
    precompute: Annotated[
        Literal["full", "none"],
        typer.Option(
            help="What is computed once an item and stored: every projection, or embeddings only "
            "(smaller galleries, several times more work a pair).",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "full",
    step_scores: Annotated[
        Literal["no", "yes"],
        typer.Option(
            help="Whether the matcher graphs also give every matching step's part of a score, for "
            "evaluate --steps.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "no",
    opset: Opset = DEFAULT_OPSET,
    dtype: Dtype = "float32",
    quantize: Quantize = None,
    punkt: Punkt = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Iterative Matching with Recurrent Attention Memory (CVPR 2020)."""
    common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
    export_matcher("imram", *common, punkt=punkt, precompute=precompute, step_scores=step_scores)
