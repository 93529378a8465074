"""What a detector found, kept on disk until a gallery is complete: a killed run is gone on with.

One file a picture, so that nothing is found twice and a file that was cut is one picture less.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import canonical_json, output_errors
from itr_deploy.bundle.leftovers import shortened
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.detector import Detector

log = logging.getLogger(__name__)

FORMAT = 1
SEEN = "picture_file"
"""Array with the size and the time of change of the picture's file, when it was looked at."""
ENDING = ".npz"


class KeptDetections:
    """Detections of pictures that are files, in a directory beside what they are for."""

    def __init__(
        self, output: Path, detector: Detector, boxes: tuple[int, int], files: Sequence[Path]
    ) -> None:
        """See what earlier runs kept.

        Args:
            output: What the detections are for; they lie beside it.
            detector: What finds them.
            boxes: The least and the most regions of a picture.
            files: The pictures. One that has changed since is looked at again.
        """
        self._root = output.parent / f".{shortened(output.name)}.regions"
        self._folder = self._root / _key(detector, boxes)
        self._files = files
        there: set[str] = set()
        with suppress(OSError):
            there = {path.name for path in self._folder.iterdir()}
        names = (_name(file) for file in files)
        self._there = {number for number, name in enumerate(names) if name in there}

    def __len__(self) -> int:
        """How many pictures need not be looked at again."""
        return len(self._there)

    def __contains__(self, number: object) -> bool:
        return number in self._there

    def read(self, number: int) -> Detection | None:
        """What was found in a picture; None where it must be looked at again."""
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            if not np.array_equal(arrays.pop(SEEN), _seen(self._files[number])):
                log.info("%s has changed, and is looked at again", self._files[number])
            else:
                return _detection(arrays)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            log.info("%s: cannot be read: %s", path, error)
        self._there.discard(number)
        return None

    def write(self, number: int, found: Detection) -> None:
        """Keep what was found in a picture.

        Raises:
            OutputError: The disk refuses.
        """
        parts = {field.name: getattr(found, field.name) for field in fields(Detection)}
        arrays: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
        arrays[SEEN] = _seen(self._files[number])
        content = io.BytesIO()
        np.savez(content, **arrays)
        path = self._path(number)
        with output_errors(self._root, left=f"{len(self)} pictures are kept for the next run"):
            self._folder.mkdir(parents=True, exist_ok=True)
            # Renamed when it is whole; there is no hurry to have it on the disk itself.
            staged = path.with_suffix(".part")
            staged.write_bytes(content.getbuffer())
            staged.replace(path)
        self._there.add(number)

    def clear(self) -> None:
        """Remove all that was kept, by runs with other settings too."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / _name(self._files[number])


def _key(detector: Detector, boxes: tuple[int, int]) -> str:
    """What all of the detections in a folder depend on."""
    manifest = detector.bundle.manifest
    graphs = {name: manifest.files[graph.file].sha256 for name, graph in manifest.graphs.items()}
    known = {
        "format": FORMAT,
        "encoding_id": manifest.encoding_id,
        "precision": manifest.precision,
        "graphs": graphs,
        "boxes": boxes,
        "proposals": detector.proposals,
    }
    return hashlib.sha256(canonical_json(known)).hexdigest()[:16]


def _name(file: Path) -> str:
    return hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:32] + ENDING


def _seen(file: Path) -> NDArray[np.int64]:
    status = file.stat()
    return np.array([status.st_size, status.st_mtime_ns], np.int64)


def _detection(arrays: dict[str, NDArray[Any]]) -> Detection:
    """What was found.

    Raises:
        TypeError: A part is missing, or there is one too many.
        ValueError: A part is of another form.
    """
    parts: dict[str, Any] = {"attributes": None, "attribute_confidence": None, **arrays}
    width, height = parts.pop("picture_size").tolist()
    enough = bool(parts.pop("enough"))
    found = Detection(picture_size=(width, height), enough=enough, **parts)
    if not len(found.features) == len(found.boxes) == len(found.classes):
        raise ValueError("parts of different lengths")
    return found
