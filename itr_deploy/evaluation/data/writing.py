"""Writes a split's region features in the layout that `evaluation.data.features` reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import write_file
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.features import EXTRAS, FILES
from itr_deploy.evaluation.data.sources.source import Entry, Item, Source

FEATURES = FILES[0]
IDS = "{split}_ids.txt"


def written_files(split: str) -> set[str]:
    """Names of the files that `write_regions` may write."""
    names = (FEATURES, IDS, *(file for file, _ in EXTRAS.values()))
    return {name.format(split=split) for name in names}


def write_regions(
    root: Path,
    split: str,
    source: Source,
    entries: Sequence[Entry],
    tell: Callable[[int, int], object],
) -> None:
    """Write images one after the other; no more than one is in memory.

    Images of fewer regions than others are padded with zeros, and their counts are written. Boxes
    and picture sizes are written if every image has both.

    Args:
        root: Directory of the files, which exists.
        split: The beginning of their names.
        source: Where the images are.
        entries: Which of them, at least one, all of as many features, in this order.
        tell: Called with the number of images that are written, and of all.

    Raises:
        InputError: An image's values are damaged, not finite, or 0.
        OSError: The disk refuses.
    """
    counts = np.array([entry.regions for entry in entries], "<i8")
    rows = int(counts.max())
    shapes: dict[str, tuple[int, ...]] = {FEATURES: (len(entries), rows, entries[0].width)}
    if are_placed(entries):
        shapes[EXTRAS["boxes"][0]] = (len(entries), rows, 4)
        shapes[EXTRAS["picture_sizes"][0]] = (len(entries), 2)
    # Written as a stream: a full disk kills a process that writes to a mapped file.
    with ExitStack() as stack:
        files = []
        for name, shape in shapes.items():
            file = stack.enter_context((root / name.format(split=split)).open("wb"))
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            files.append(file)
        for number, entry in enumerate(entries, 1):
            item = source.read(entry)
            parts = (_features(item, entry), item.boxes, item.size)
            for file, part in zip(files, parts, strict=False):
                _append(file, part, rows)
            tell(number, len(entries))
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    if len(set(counts.tolist())) > 1:
        np.save(root / EXTRAS["counts"][0].format(split=split), counts)
    write_file(root / IDS.format(split=split), "".join(f"{entry.id}\n" for entry in entries))


def are_placed(entries: Sequence[Entry]) -> bool:
    """Whether it is known of all images where their regions are."""
    return all(entry.boxes and entry.size for entry in entries)


def _features(item: Item, entry: Entry) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(item.features, "<f4")
    if features.shape != (entry.regions, entry.width):
        raise InputError(f"{entry.where}: was changed while it was read; convert it again")
    if not np.isfinite(features).all():
        raise InputError(f"{entry.where}: its features hold NaN or infinity; extract them again")
    zeros = ~features.any(axis=1)
    if zeros.any():
        raise InputError(
            f"{entry.where}: region {int(np.argmax(zeros))} is all 0, as padding is and no "
            "extractor gives it; leave padding out, or say in num_bbox of an .npz how many rows "
            "are regions"
        )
    return features


def _append(file: IO[bytes], part: object, rows: int) -> None:
    """Write one image's array; one of fewer rows is padded with zeros."""
    values = np.ascontiguousarray(part, "<f4")
    file.write(values.tobytes())
    if values.ndim == 2:
        file.write(bytes((rows - len(values)) * values[0].nbytes))
