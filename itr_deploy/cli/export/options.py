"""Options shared by the exports of all matchers, and of all re-rankers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from itr_deploy.cli.options import Precision, Quantization
from itr_deploy.models.registry import OPSETS

FAMILY_PANEL = "The family's own"

Vocab = Annotated[Path, typer.Option(help="The vocabulary the model was trained with.")]
Punkt = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What split sentences in training: nltk's punkt_tab.zip, its folder, or the "
        "punkt.json of another bundle; by default nltk's data on this machine.",
    ),
]
Opset = Annotated[
    int,
    typer.Option(
        min=OPSETS[0],
        max=OPSETS[-1],
        help="ONNX operator set; 20 is the highest that every TensorRT takes.",
    ),
]
Dtype = Annotated[
    Precision,
    typer.Option(
        help="Type of the matrix products. Half precision is for a GPU: on a CPU it is slower, "
        "and bfloat16 does not run."
    ),
]
Quantize = Annotated[
    Quantization | None,
    typer.Option(
        help="Round the products that remain for every pair to 8 bits: quicker on a CPU. The "
        "encoders stay float32, and so galleries stay the same."
    ),
]

EdgeThresholds = Literal["rows", "published"]
IntraSimilarity = Literal["pooled", "lists"]

RerankerCheckpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        help="The published program's checkpoint, for example checkpoint_best.pth.",
    ),
]
Base = Annotated[
    Path,
    typer.Option(
        help="The bundle of the matcher whose rankings it was trained on; its galleries open "
        "with the new bundle."
    ),
]
Heads = Annotated[
    int,
    typer.Option(
        min=1,
        help="Heads of its attention, which the weights do not say.",
        rich_help_panel=FAMILY_PANEL,
    ),
]
RowsTextToImage = Annotated[
    int,
    typer.Option(
        min=2,
        help="K of a text query: itself and the K-1 images that are re-scored.",
        rich_help_panel=FAMILY_PANEL,
    ),
]
RowsImageToText = Annotated[
    int,
    typer.Option(
        min=2,
        help="K of an image query: itself and the K-1 texts that are re-scored.",
        rich_help_panel=FAMILY_PANEL,
    ),
]
Thresholds = Annotated[
    EdgeThresholds,
    typer.Option(
        help="What an edge must exceed: a share of 1 / K, or the published program's constants "
        "whatever K is. The same at the published K.",
        rich_help_panel=FAMILY_PANEL,
    ),
]
Similarity = Annotated[
    IntraSimilarity,
    typer.Option(
        help="Similarity within a modality in training: the cosine of the base's pooled "
        "embeddings, or lists of your own that are given with the gallery.",
        rich_help_panel=FAMILY_PANEL,
    ),
]
