"""Writes a split's region features in the layout that `evaluation.data.features` reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from itr_deploy.bundle.files import write_file
from itr_deploy.evaluation.data.features import EXTRAS, FILES
from itr_deploy.evaluation.data.sources.choosing import Chosen

FEATURES = FILES[0]
IDS = "{split}_ids.txt"


def written_files(split: str) -> set[str]:
    """Names of the files that `write_regions` may write."""
    names = (FEATURES, IDS, *(file for file, _ in EXTRAS.values()))
    return {name.format(split=split) for name in names}


def write_regions(
    root: Path,
    split: str,
    images: Chosen,
    tell: Callable[[int, int], object],
) -> None:
    """Write images one after the other; no more than one is in memory.

    Images of fewer regions than others are padded with zeros, and their counts are written. Boxes
    and picture sizes are written if every image has both.

    Args:
        root: Directory of the files, which exists.
        split: The beginning of their names.
        images: The images, in their order.
        tell: Called with the number of images that are written, and of all.

    Raises:
        InputError: An image's values are damaged, not finite, or 0.
        OSError: The disk refuses.
    """
    count, counts = len(images.entries), images.counts.astype("<i8")
    rows = int(counts.max())
    shapes: dict[str, tuple[int, ...]] = {FEATURES: (count, rows, images.entries[0].width)}
    if images.have_boxes:
        shapes[EXTRAS["boxes"][0]] = (count, rows, 4)
        shapes[EXTRAS["picture_sizes"][0]] = (count, 2)
    # Written as a stream: a full disk kills a process that writes to a mapped file.
    with ExitStack() as stack:
        files = []
        for name, shape in shapes.items():
            file = stack.enter_context((root / name.format(split=split)).open("wb"))
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            files.append(file)
        for number in range(count):
            image = images.read(number)
            parts = (image.features, image.boxes, image.picture_sizes)
            for file, part in zip(files, parts, strict=False):
                _append(file, part, rows)
            tell(number + 1, count)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    if len(set(counts.tolist())) > 1:
        np.save(root / EXTRAS["counts"][0].format(split=split), counts)
    write_file(root / IDS.format(split=split), "".join(f"{name}\n" for name in images.names))


def _append(file: IO[bytes], part: object, rows: int) -> None:
    """Write one image's array; one of fewer rows is padded with zeros."""
    values = np.ascontiguousarray(part, "<f4")
    file.write(values.tobytes())
    if values.ndim == 2:
        file.write(bytes((rows - len(values)) * values[0].nbytes))
