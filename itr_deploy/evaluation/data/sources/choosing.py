"""Which images of a source are taken, in which order, before any of them is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.lines import read_lines
from itr_deploy.evaluation.data.sources.opening import open_source
from itr_deploy.evaluation.data.sources.source import Entry, Source, checked_features
from itr_deploy.runtime.encoding.regions import Regions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """Images of a source, all of as many features, at least one.

    Attributes:
        source: What reads them.
        entries: The images, each once.
        repeated: Number of entries of the source whose image came before.
    """

    source: Source
    entries: Sequence[Entry]
    repeated: int

    @cached_property
    def names(self) -> list[str]:
        """The ids of the images."""
        return [entry.id for entry in self.entries]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """``int64 [N]``, the number of each image's regions."""
        return np.array([entry.regions for entry in self.entries], np.int64)

    @cached_property
    def have_boxes(self) -> bool:
        """Whether it is known of all images where their regions are."""
        return all(entry.boxes and entry.size for entry in self.entries)

    def read(self, number: int) -> Regions:
        """One image, without the axis of images: ``float32 [R, Di]`` and where its regions are.

        Raises:
            InputError: It is damaged, or its features are not finite or 0.
        """
        entry = self.entries[number]
        item = self.source.read(entry)
        features = checked_features(item, entry)
        if not self.have_boxes:
            return Regions(features)
        return Regions(features, item.boxes, item.size)


def choose(
    path: Path,
    ids: Path | None,
    tell: Callable[[str, int, int], object],
    check: Callable[[Entry], None] = lambda entry: None,
) -> Chosen:
    """Look through a source once for the images to take.

    Args:
        path: A file or a folder that `open_source` takes.
        ids: File of image ids, one a line: which images, and their order; by default all.
        tell: Called with the step, how much of it is done, and of how much.
        check: Called with every image that is taken, as it is met; may raise.

    Raises:
        InputError: The source or the ids cannot be read, are damaged, or do not fit; an image has
            no regions, or features of another width than others. Names file, line and image.
        SetupError: The source is HDF5, and h5py is not installed.
    """
    wanted = None if ids is None else _read_ids(ids)
    taken = None if wanted is None else frozenset(wanted)
    source = open_source(path)
    found: dict[str, Entry] = {}
    repeated: list[Entry] = []
    first: Entry | None = None
    for entry in source.entries(lambda *done: tell(f"looking through ({source.unit})", *done)):
        if found.setdefault(entry.id, entry) is not entry:
            repeated.append(entry)
        elif taken is None or entry.id in taken:
            first = first or entry
            _check(entry, first)
            check(entry)
    if repeated:
        log.warning(
            "%s: %d entries are of images that came before, such as %r; the first of each is kept",
            *(path, len(repeated), repeated[0].id),
        )
    chosen = list(found.values()) if wanted is None else _ordered(path, found, wanted, ids)
    if not chosen:
        raise InputError(f"{path}: there are no images")
    _tell_of_boxes(path, chosen)
    return Chosen(source, chosen, len(repeated))


def _read_ids(path: Path) -> list[str]:
    try:
        wanted = [line.strip() for line in read_lines(path)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check ids= (--ids)") from error
    if not wanted:
        raise InputError(f"{path}: no ids in it; give one a line, or leave out ids= (--ids)")
    double = first_repeated(wanted)
    if double is not None:
        raise InputError(
            f"{path}: id {double!r} is there twice; every image is taken once: uniq old > new "
            "leaves one of lines that follow each other"
        )
    return wanted


def _ordered(
    source: Path, found: dict[str, Entry], wanted: Sequence[str], ids: Path | None
) -> list[Entry]:
    missing = [number for number, name in enumerate(wanted, 1) if name not in found]
    if missing:
        such = next(iter(found), None)
        raise InputError(
            f"{ids}: {len(missing)} of {len(wanted)} ids are not in {source}, the first on line "
            f"{missing[0]}: {wanted[missing[0] - 1]!r}; its ids look like {such!r}"
        )
    return [found[name] for name in wanted]


def _check(entry: Entry, first: Entry) -> None:
    """Refuse an image without regions, or of another width than the first.

    Raises:
        InputError: It is one.
    """
    if not entry.regions:
        raise InputError(
            f"{entry.where}: has no regions; extract it again, or leave it out with ids= (--ids)"
        )
    if entry.width != first.width:
        raise InputError(
            f"{entry.where}: has {entry.width} features a region; {first.id!r} has {first.width}"
        )


def _tell_of_boxes(source: Path, chosen: Sequence[Entry]) -> None:
    lacking = sum(not (entry.boxes and entry.size) for entry in chosen)
    if lacking and any(entry.boxes for entry in chosen):
        log.warning(
            "%s: %d of %d images lack boxes or the picture's size; boxes are left out",
            *(source, lacking, len(chosen)),
        )
