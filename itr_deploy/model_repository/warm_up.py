"""Requests that Triton makes to a model before it calls it ready."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.model_repository.protobuf import Message, Word

FOLDER = "warmup"
"""Where Triton looks for the files of its requests, in a model's directory."""
REGIONS, SIDE = 36, 224
"""Regions of an image, and pixels of a picture, where the model does not fix them."""
TYPES = {
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
}
"""Triton's names of types."""


@dataclass
class WarmUp:
    """One request: its inputs without the axis of the batch, and the files that hold them."""

    inputs: dict[str, Message] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, value: NDArray[np.generic]) -> None:
        """Add an input of numbers."""
        self._add(name, TYPES[value.dtype.name], list(value.shape), value.tobytes())

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a text or a file."""
        self._add(name, "TYPE_STRING", [1], struct.pack("<I", len(content)) + content)

    def _add(self, name: str, kind: str, dims: list[int], content: bytes) -> None:
        self.inputs[name] = {"data_type": Word(kind), "dims": dims, "input_data_file": name}
        self.files[name] = content

    def message(self) -> Message:
        """Its part of a configuration."""
        entries = [{"key": name, "value": told} for name, told in self.inputs.items()]
        return {"name": "first", "batch_size": 1, "inputs": entries}

    def write(self, model: Path) -> None:
        """Write the files of a model's directory.

        Raises:
            OutputError: They cannot be written.
        """
        for name, content in self.files.items():
            write_file(model / FOLDER / name, content)


def image_of(items: ImageItems) -> dict[str, NDArray[np.float32]]:
    """An image of regions that a model takes."""
    regions = items.regions or min(REGIONS, items.max_regions or REGIONS)
    image: dict[str, NDArray[np.float32]] = {
        "regions": np.ones((regions, items.feature_dim), np.float32)
    }
    if items.boxes:
        image["boxes"] = np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (regions, 1))
        image["picture_sizes"] = np.full(2, SIDE, np.float32)
    return image


def picture_file() -> bytes:
    """A small picture, as a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(content, "PNG")
    return content.getvalue()
