"""``itr-deploy export lhsc``."""

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


def lhsc(
    *,
    checkpoint: Checkpoint,
    vocab: Vocab,
    output: NewBundle,
    text_padding: Annotated[
        Literal["true-length", "published"],
        typer.Option(
            help="What a caption's self-attention reads: its own words, so that it scores the "
            "same in any batch; or also the padding of its batch of 100, as the published "
            "evaluation does, to reproduce a published number.",
            rich_help_panel=FAMILY_PANEL,
        ),
    ] = "true-length",
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
    """Learning Hierarchical Semantic Correspondences (ICMR 2022)."""
    common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
    export_matcher("lhsc", *common, punkt=punkt, text_padding=text_padding)
