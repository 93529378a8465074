"""Reading a split and batching it, for any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from examples.shapes.captions import CAPTIONS_PER_PICTURE


@dataclass(frozen=True)
class Split:
    """One split, picture by picture.

    Attributes:
        images: Region features float32 `[N, 36, Di]`, or the pictures themselves, uint8
            `[N, H, W, 3]` in RGB.
        captions: Five of each picture.
    """

    images: Tensor
    captions: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """Number N of pictures."""
        return self.images.shape[0]


def read_split(data: Path, name: str, *, pictures: bool = False) -> Split:
    """Read a split that `make_data` wrote, with region features or with `pictures`.

    Raises:
        FileNotFoundError: The split has not been made.
        ValueError: Its files do not belong together.
    """
    kind = "ids.txt" if pictures else "ims.npy"
    images, captions = data / f"{name}_{kind}", data / f"{name}_caps.txt"
    for path in (images, captions):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; make it with "
                f"python -m examples.shapes.make_data --output {data} --splits {name}"
            )
    lines = tuple(captions.read_text(encoding="utf-8").splitlines())
    split = Split(_pictures(data, images) if pictures else torch.from_numpy(np.load(images)), lines)
    if len(lines) != split.pictures * CAPTIONS_PER_PICTURE:
        raise ValueError(
            f"{captions}: {len(lines)} captions for {split.pictures} pictures, expected "
            f"{CAPTIONS_PER_PICTURE} each; make the split again"
        )
    return split


def _pictures(data: Path, ids: Path) -> Tensor:
    """The pictures uint8 `[N, H, W, 3]` that a file of ids names.

    Raises:
        FileNotFoundError: One was not written.
    """
    made = []
    for image_id in ids.read_text(encoding="utf-8").split():
        path = data / "pictures" / f"{image_id}.png"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; make it with "
                f"python -m examples.shapes.make_data --output {data} --pictures"
            )
        with Image.open(path) as picture:
            made.append(np.asarray(picture))
    return torch.from_numpy(np.stack(made))


def shuffled_pairs(
    pictures: int, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch over all captions: batches of picture rows `[B]` and of caption rows `[B]`.

    It goes through the pictures five times, each time with another caption of each, so that no
    batch holds two captions of one picture: each would be a false negative of the other.
    """
    turns = torch.rand(pictures, CAPTIONS_PER_PICTURE, generator=generator).argsort(dim=1)
    for turn in turns.T:
        order = torch.randperm(pictures, generator=generator)
        for rows in order.split(batch_size):
            if len(rows) == batch_size:
                yield rows, CAPTIONS_PER_PICTURE * rows + turn[rows]


def batches_per_epoch(pictures: int, batch_size: int) -> int:
    """The number of batches that `shuffled_pairs` yields."""
    return CAPTIONS_PER_PICTURE * (pictures // batch_size)


def padded(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids int64 `[C, L]`, padded with 0, and lengths int64 `[C]`."""
    rows = [torch.tensor(caption) for caption in captions]
    lengths = torch.tensor([len(caption) for caption in captions])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths
