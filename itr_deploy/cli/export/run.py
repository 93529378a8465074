"""What the commands of all families do with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itr_deploy
from itr_deploy.cli.export.options import EdgeThresholds, IntraSimilarity
from itr_deploy.cli.options import Precision, Quantization
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.progress import steps


def export_matcher(
    family: str,
    checkpoint: Path,
    vocab: Path,
    output: Path,
    opset: int,
    dtype: Precision,
    quantize: Quantization | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Export a matcher, with its family's options, and print the bundle's parity."""
    with steps() as begin:
        made = itr_deploy.export(
            family,
            checkpoint=checkpoint,
            vocab=vocab,
            output=output,
            opset=opset,
            dtype=dtype,
            quantize=quantize,
            force=force,
            progress=begin,
            **options,
        )
    print_made(made, as_json)


def export_reranker(
    family: str,
    checkpoint: Path,
    base: Path,
    output: Path,
    heads: int,
    rows: tuple[int, int],
    edge_thresholds: EdgeThresholds,
    intra_similarity: IntraSimilarity,
    force: bool,
    as_json: bool,
) -> None:
    """Add a re-ranker to a bundle and print its parity; ``rows`` of text queries, then images."""
    with steps() as begin:
        made = itr_deploy.export_reranker(
            family,
            checkpoint=checkpoint,
            base=base,
            output=output,
            heads=heads,
            rows_text_to_image=rows[0],
            rows_image_to_text=rows[1],
            edge_thresholds=edge_thresholds,
            intra_similarity=intra_similarity,
            force=force,
            progress=begin,
        )
    print_made(made, as_json)
