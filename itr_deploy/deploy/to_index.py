"""What `index` puts into a gallery: a split's items, a folder's pictures, an extractor's images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import InputError, UsageError
from itr_deploy.evaluation.data.sources.choosing import choose
from itr_deploy.evaluation.data.sources.source import Entry
from itr_deploy.evaluation.data.split import read_images, read_split
from itr_deploy.runtime.detector.images import DetectedImages
from itr_deploy.runtime.encoding.pictures import CheckedPictures
from itr_deploy.runtime.encoding.streamed import StreamedRegions
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.pictures.folder import picture_files

SAMPLED, SAMPLE = 64, 1 << 16
"""Files of which the processes of a gallery compare how they begin and end, and how many bytes."""


@dataclass(frozen=True, eq=False)
class ToIndex:
    """Items for a gallery.

    Attributes:
        ids: Their ids.
        items: The items, as `Gallery.add` takes them.
        files: Where they come from.
        columns: The gallery's columns by name, one value per item.
    """

    ids: Sequence[str]
    items: Any
    files: Iterable[Path]
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def broken(self) -> dict[str, str]:
        """Why pictures were left out, by their ids; filled as they are encoded."""
        if not isinstance(self.items, (CheckedPictures, DetectedImages)):
            return {}
        return {self.ids[number]: why for number, why in self.items.broken.items()}

    def check_any(self) -> None:
        """Refuse a folder without a single picture that could be used.

        Raises:
            InputError: There is none.
        """
        broken = self.broken
        if broken and len(broken) == len(self.ids):
            first = next(iter(broken.values()))
            use = "decoded" if isinstance(self.items, CheckedPictures) else "used"
            raise InputError(f"none of {len(self.ids)} pictures can be {use}, such as {first}")

    def state(self) -> str:
        """A digest of the ids, the columns, and the files' sizes and times of change."""
        known = hashlib.sha256(json.dumps([*self.ids]).encode())
        known.update(json.dumps(self.columns, default=repr, sort_keys=True).encode())
        known.update(self.files_state().encode())
        return known.hexdigest()

    def files_state(self, part: range | None = None) -> str:
        """A digest of the files' sizes and times of change, as this machine sees them.

        Args:
            part: Only for these items, where each has a file of its own.
        """
        known, files = hashlib.sha256(), self.files
        if part is not None and isinstance(self.items, (CheckedPictures, DetectedImages)):
            files = [*files][part.start : part.stop]
        for path in files:
            try:
                status = path.stat()
            except OSError:  # who reads it will say so
                continue
            told = [str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ino]
            known.update(json.dumps(told).encode())
        return known.hexdigest()

    def digests(self) -> dict[str, str]:
        """What every machine must find alike, by names for messages: ids, columns, a file sample.

        Files may lie elsewhere and be copies, and all of them are too much to read for every part.
        """
        ids = hashlib.sha256(json.dumps([*self.ids]).encode())
        columns = hashlib.sha256(json.dumps(self.columns, default=repr, sort_keys=True).encode())
        files, known = [*self.files], hashlib.sha256()
        for number in range(0, len(files), -(-len(files) // SAMPLED) or 1):
            known.update(_ends(files[number]))
        return {
            "ids": ids.hexdigest(),
            "columns": columns.hexdigest(),
            "files": known.hexdigest(),
        }


def _ends(path: Path) -> bytes:
    """A digest of a file's name, its size, and how it begins and ends."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - SAMPLE))
            last = file.read(SAMPLE)
            file.seek(0)
            told = json.dumps([path.name, size]).encode() + file.read(SAMPLE) + last
    except OSError:  # who reads it will say so
        told = path.name.encode()
    return hashlib.sha256(told).digest()


def split_items(matcher: Matcher, data: Path, split: str, modality: Modality) -> ToIndex:
    """A split's images or captions.

    Raises:
        InputError: A file is missing or damaged, or they do not fit each other.
    """
    pixels = bool(matcher.bundle.manifest.images.pictures)
    if modality == "image":
        images = read_images(data, split, pictures=pixels)
        files = images.given if pixels else sorted(data.glob(f"{split}_*"))
        return ToIndex(images.ids, images.given, files)  # type: ignore[arg-type]
    read = read_split(data, split, pictures=pixels)
    columns: dict[str, Sequence[Any]] = {"text": read.captions, "image_id": read.image_of_caption}
    return ToIndex(read.caption_ids, read.captions, (), columns)


def picture_items(matcher: Matcher, root: Path, modality: Modality, *, any_number: bool) -> ToIndex:
    """A folder's pictures, for the model or for its detector.

    Args:
        matcher: The matcher, with a detector if its model takes regions.
        root: The folder.
        modality: What is asked for.
        any_number: Whether the gallery takes images of any number of regions.

    Raises:
        InputError: There are none.
        UsageError: The bundle's model takes regions and there is no detector, or texts are asked
            for.
    """
    if modality != "image":
        raise UsageError("pictures= (--pictures) are images; leave modality= (--modality) out")
    check_takes_pictures(matcher)
    return of_pictures(matcher, picture_files(root), any_number=any_number)


def check_takes_pictures(matcher: Matcher) -> None:
    """Refuse a model of regions without a detector.

    Raises:
        UsageError: It is one.
    """
    if not matcher.bundle.manifest.images.pictures and matcher.detector is None:
        raise UsageError(
            f"{matcher.bundle.path}: its model takes features of regions, not pictures; give the "
            "region detector that it was trained with, detector= (--detector), or data= (--data) "
            "or features= (--features), or a bundle of a model that starts from pixels"
        )


def of_pictures(matcher: Matcher, files: Mapping[str, Path], *, any_number: bool) -> ToIndex:
    """Pictures by their ids, for a model that takes pictures or has a detector."""
    ids, paths = list(files), list(files.values())
    if matcher.detector is None:
        return ToIndex(ids, CheckedPictures(paths, names=ids, skip_broken=True), paths)
    found = DetectedImages(
        matcher.detector,
        matcher.bundle.manifest.images,
        paths,
        names=ids,
        skip_broken=True,
        any_number=any_number,
    )
    return ToIndex(ids, found, paths)


def extracted_items(
    matcher: Matcher,
    source: Path,
    ids: Path | None,
    modality: Modality,
    looking: Callable[[str, int, int], object],
) -> ToIndex:
    """The images of an extractor's file, each checked as it is met.

    Raises:
        InputError: The source or the ids cannot be read, or hold what the model does not take.
        SetupError: The source is HDF5, and h5py is not installed.
        UsageError: The bundle's model starts from pixels, or texts are asked for.
    """
    if modality != "image":
        raise UsageError("features= (--features) are images; leave modality= (--modality) out")
    takes = matcher.bundle.manifest.images
    if takes.pictures:
        raise UsageError(
            f"{matcher.bundle.path}: its model starts from pixels, not from features of regions; "
            "give pictures= (--pictures), or a bundle of a model that takes features"
        )
    chosen = choose(source, ids, looking, lambda entry: _check_taken(entry, takes))
    files = sorted({entry.file for entry in chosen.entries})
    return ToIndex(chosen.names, StreamedRegions(chosen, takes), files)


def _check_taken(entry: Entry, takes: ImageItems) -> None:
    """Refuse an image that a bundle's model does not take.

    Raises:
        InputError: It has another number of features or regions, or no boxes where they are read.
    """
    fixed, most = takes.regions, takes.max_regions
    wrong = ""
    if entry.width != takes.feature_dim:
        wrong = f"has {entry.width} features a region; this model takes {takes.feature_dim}"
    elif fixed is not None and entry.regions != fixed:
        wrong = f"has {entry.regions} regions; this model takes {fixed}"
    elif most is not None and entry.regions > most:
        wrong = f"has {entry.regions} regions; this model takes {most} at most"
    elif takes.boxes and not (entry.boxes and entry.size):
        wrong = "lacks boxes or the picture's size; this model reads where the regions are"
    if wrong:
        raise InputError(f"{entry.where}: {wrong}")
