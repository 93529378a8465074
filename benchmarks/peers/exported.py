"""The plain model exported as a user would without us, by PyTorch's exporter, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.scoring import Floats, Matching, OneByOne, tokens
from benchmarks.peers.world import Part, World

GRAPH = "caption.onnx"


def export_caption(part: Part, folder: Path) -> None:
    """`OneCaption` with any number of images and words, as `GRAPH` in a folder.

    By PyTorch's default exporter, or where that refuses by its old one; then ``refused`` says why.
    """
    import torch

    from benchmarks.peers.plain import OneCaption, example, plain_model

    module, inputs = OneCaption(plain_model(part)).eval(), example(part)
    free = torch.export.Dim.DYNAMIC
    names = {"input_names": ["images", "ids"], "output_names": ["scores"], "verbose": False}
    sizes = {"images": {0: "images"}, "ids": {1: "words"}, "scores": {0: "images"}}
    try:
        torch.onnx.export(
            module, inputs, folder / GRAPH, **names, dynamic_shapes=({0: free}, {1: free})
        )
    except RuntimeError as error:
        told = [line for line in str(error).splitlines() if line.startswith(("- Received", "<"))]
        (folder / "refused").write_text("; ".join(told[-1:]).removeprefix("- "))
        torch.onnx.export(module, inputs, folder / GRAPH, **names, dynamo=False, dynamic_axes=sizes)


def session(path: Path) -> Any:
    """ONNX Runtime as a user opens a graph, with its own defaults."""
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


class Session(OneByOne):
    """The graph in ONNX Runtime."""

    def __init__(self, part: Part, folder: Path, images: int) -> None:
        self._session = session(folder / GRAPH)
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
        "the published score() packs padded captions, which torch.onnx cannot trace; exported is "
        "one unpadded caption over all images, which a user must write"
    )

    def build(self, part: Part, folder: Path) -> None:
        """See `Matching`."""
        export_caption(part, folder)

    def open(self, part: Part, folder: Path, images: int) -> Session:
        """See `Matching`."""
        return Session(part, folder, images)

    def told(self, world: World) -> str:
        """See `Matching`."""
        refused = world.of(self.name) / "published" / "refused"
        if not refused.exists():
            return self.note
        return f"{self.note}, with dynamo=False, since the default exporter: {refused.read_text()}"
