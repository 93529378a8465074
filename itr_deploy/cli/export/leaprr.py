"""``itr-deploy export leaprr``: a re-ranker added to a matcher's bundle."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from itr_deploy.cli.export.options import (
    Base,
    Heads,
    IntraSimilarity,
    RerankerCheckpoint,
    RowsImageToText,
    RowsTextToImage,
    Similarity,
    Thresholds,
)
from itr_deploy.cli.export.run import export_reranker
from itr_deploy.cli.options import Force, Json, LogFormat, NewBundle, Quiet, Threads, Verbose

log = logging.getLogger(__name__)


def leaprr(
    *,
    checkpoint: RerankerCheckpoint,
    base: Base,
    output: NewBundle,
    heads: Heads = 24,
    rows_text_to_image: RowsTextToImage = 8,
    rows_image_to_text: RowsImageToText = 32,
    edge_thresholds: Thresholds = "rows",
    intra_similarity: Similarity = "pooled",
    pi: Annotated[IntraSimilarity | None, typer.Option(hidden=True)] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Learnable Pillar-based Re-ranking (SIGIR 2023), added to a matcher's bundle."""
    if pi is not None:
        log.warning("--pi is deprecated; use --intra-similarity %s", pi)
    rows, similarity = (rows_text_to_image, rows_image_to_text), pi or intra_similarity
    common = (checkpoint, base, output, heads, rows, edge_thresholds, similarity, force, as_json)
    export_reranker("leaprr", *common)
