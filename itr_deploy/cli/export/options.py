"""Options shared by the exports of all matchers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itr_deploy.cli.options import Precision, Quantization

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
        min=18, max=22, help="ONNX operator set; 20 is the highest that every TensorRT takes."
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
