"""Files as extractors write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
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


def hdf5_of_vqa(path: Path, items: Sequence[Extracted], *, ranges: bool | None = None) -> Path:
    """As bottom-up-attention-vqa writes it, or with ranges of rows, and ids beside it.

    Args:
        path: The file to make.
        items: The pictures.
        ranges: Whether the pictures' rows follow each other; by default if their numbers differ.
    """
    if ranges is None:
        ranges = len({len(item.features) for item in items}) > 1
    joined = np.concatenate if ranges else np.stack
    with h5py.File(path, "w") as file:
        file["image_features"] = joined([item.features for item in items])
        file["image_bb"] = joined([item.boxes for item in items])
        file["spatial_features"] = joined([spatial(item) for item in items])
        if ranges:
            ends = np.cumsum([len(item.features) for item in items])
            starts = np.concatenate([[0], ends[:-1]])
            file["pos_boxes"] = np.stack([starts, ends], axis=1).astype(np.int32)
    numbered = {item.id: row for row, item in enumerate(items)}
    path.with_name(f"{path.stem}_imgid2idx.json").write_text(json.dumps(numbered))
    return path


def spatial(item: Extracted) -> np.ndarray:
    """Boxes in fractions of the picture, and their widths and heights."""
    ends = item.boxes / np.array([*item.size, *item.size], np.float32)
    return np.concatenate([ends, ends[:, 2:] - ends[:, :2]], axis=1)


def hdf5_of_captioning(path: Path, items: Sequence[Extracted]) -> Path:
    """As the meshed-memory transformer reads it: no sizes of pictures."""
    with h5py.File(path, "w") as file:
        for item in items:
            file[f"{item.id}_features"] = item.features
            file[f"{item.id}_boxes"] = item.boxes
            file[f"{item.id}_cls_prob"] = np.ones((len(item.features), 3), np.float32)
    return path


def hdf5_of_groups(path: Path, items: Sequence[Extracted]) -> Path:
    """A group an image, the sizes as attributes."""
    with h5py.File(path, "w") as file:
        for item in items:
            group = file.create_group(item.id)
            group["features"], group["bbox"] = item.features, item.boxes
            group["num_boxes"] = len(item.features)
            group.attrs["image_w"], group.attrs["image_h"] = item.size
    return path


def hdf5_of_any_length(path: Path, items: Sequence[Extracted]) -> Path:
    """A row an image of its own length, with ids and sizes in arrays."""
    with h5py.File(path, "w") as file:
        for name, arrays in (
            ("features", [item.features for item in items]),
            ("boxes", [item.boxes for item in items]),
        ):
            kind = h5py.vlen_dtype(np.float32)
            rows = file.create_dataset(name, (len(items),), kind)
            for number, array in enumerate(arrays):
                rows[number] = array.reshape(-1)
        file["image_id"] = [int(item.id) for item in items]
        file["num_boxes"] = [len(item.features) for item in items]
        file["width"], file["height"] = np.transpose([item.size for item in items])
    return path


def hdf5_of_names(path: Path, items: Sequence[Extracted]) -> Path:
    """An array an image, named by its id."""
    with h5py.File(path, "w") as file:
        for item in items:
            file[item.id] = item.features
    return path
