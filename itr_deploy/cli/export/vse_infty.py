"""``itr-deploy export vse_infty``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def vse_infty(
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
    """VSE-infinity on region features, or from pixels (CVPR 2021)."""
    common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
    export_matcher("vse_infty", *common, punkt=punkt, bert_config=bert_config)
