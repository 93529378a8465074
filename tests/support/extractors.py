"""Files as extractors write them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Extracted:
    """What an extractor found in one picture."""

    id: str
    features: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]


def extracted(counts: Sequence[int], width: int = 8, seed: int = 0) -> list[Extracted]:
    """Random pictures, of as many regions as given."""
    rng = np.random.default_rng(seed)
    made = []
    for number, count in enumerate(counts):
        features = rng.random((count, width), np.float32) + 0.1
        boxes = np.sort(rng.random((count, 2, 2), np.float32), axis=1).reshape(count, 4) * 300
        made.append(Extracted(f"{1000 - number}", features, boxes, (640 + number, 480)))
    return made


def row(item: Extracted, *, lxmert: bool = False) -> list[str]:
    """The fields of a line of a table."""
    boxes, features = (
        base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
        for array in (item.boxes, item.features)
    )
    width, height = map(str, item.size)
    arrays = [str(len(item.features)), boxes, features]
    if lxmert:
        return [item.id, height, width, "AAAA", "AAAA", "AAAA", "AAAA", *arrays]
    return [item.id, width, height, *arrays]


def table(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    path.write_text("".join("\t".join(fields) + "\n" for fields in rows))
    return path


def npz_folder(root: Path, items: Sequence[Extracted], *, padded_to: int = 0) -> Path:
    """One archive an image; with a pickle in it, as the published program writes."""
    root.mkdir()
    for item in items:
        rows = max(padded_to, len(item.features))
        padding = ((0, rows - len(item.features)), (0, 0))
        np.savez(
            root / f"{item.id}.npz",
            x=np.pad(item.features, padding),
            bbox=np.pad(item.boxes, padding),
            num_bbox=len(item.features),
            image_w=item.size[0],
            image_h=item.size[1],
            info=np.array({"objects": [1]}, object),
        )
    return root


def npy_folder(root: Path, items: Sequence[Extracted]) -> Path:
    root.mkdir()
    for item in items:
        np.save(root / f"{item.id}.npy", item.features)
    return root
