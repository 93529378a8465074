"""``itr-deploy export scan``."""

from __future__ import annotations

from itr_deploy.cli.export.options import Dtype, Opset, Punkt, Quantize, Vocab
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


def scan(
    *,
    checkpoint: Checkpoint,
    vocab: Vocab,
    output: NewBundle,
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
    """Stacked Cross Attention (ECCV 2018).

    The paper's best figures are the mean of two models: export each, and merge them with ensemble.
    """
    common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
    export_matcher("scan", *common, punkt=punkt)
