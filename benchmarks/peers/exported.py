"""The plain model exported as a user would without us, by PyTorch's exporter, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.scoring import Floats, Matching, OneByOne, tokens
from benchmarks.peers.world import Part

GRAPH = "caption.onnx"


def export_caption(part: Part, path: Path) -> None:
    """`OneCaption` with any number of images and words."""
    import torch

    from benchmarks.peers.plain import OneCaption, example, plain_model

    free = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        OneCaption(plain_model(part)).eval(),
        example(part),
        path,
        input_names=["images", "ids"],
        output_names=["scores"],
        dynamic_shapes=({0: free}, {1: free}),
        dynamo=True,
        verbose=False,
    )


class Session(OneByOne):
    """The graph in ONNX Runtime with its own defaults."""

    def __init__(self, part: Part, folder: Path, images: int) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            folder / GRAPH, providers=["CPUExecutionProvider"]
        )
        self._images, self._tokens = np.array(part.array("images")[:images]), tokens(part)

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        inputs = {"images": self._images, "ids": self._tokens[caption]}
        scores: Floats = self._session.run(None, inputs)[0]
        return scores


class Exported(Matching):
    """One graph from tokens and embedded regions to scores."""

    name = "onnx"
    installs = ("onnxruntime", "numpy")
    note = (
        "torch.onnx refuses the published score(): it cannot trace pack_padded_sequence; exported "
        "is one unpadded caption over all images, which a user must write"
    )

    def build(self, part: Part, folder: Path) -> None:
        """See `Matching`."""
        export_caption(part, folder / GRAPH)

    def open(self, part: Part, folder: Path, images: int) -> Session:
        """See `Matching`."""
        return Session(part, folder, images)
