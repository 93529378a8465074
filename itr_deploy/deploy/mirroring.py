"""Keeping a gallery like a folder of pictures: what is new, what has changed, what is gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from itr_deploy.bundle.files import write_file
from itr_deploy.deploy.to_index import ToIndex, of_pictures
from itr_deploy.errors import GalleryError, InputError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.files import OWN, table_root
from itr_deploy.runtime.gallery.parts import add_in_parts

log = logging.getLogger(__name__)

RECORD = "pictures.json"
"""Beside the table's files: size and time of change of every picture that is in the gallery."""

PART = 256
"""Changed pictures that are encoded and stored at a time."""

Kind = Literal["pictures", "data", "features"]
"""What a folder holds: pictures, a data directory in the field's layout, an extractor's files."""

State = tuple[int, int]
"""A file's size in bytes and its time of change in nanoseconds."""


@dataclass
class Record:
    """What a gallery was made from.

    Attributes:
        folder: The folder.
        kind: What was taken from it.
        files: The state of every picture in the gallery, by its id.
        broken: The state of every picture that cannot be used, and why.
        taken: Whether something else made the gallery, which may hold more than the folder.
    """

    folder: str
    kind: Kind
    files: dict[str, State] = field(default_factory=dict)
    broken: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    taken: bool = False

    def keep(self, gallery: str | Path) -> None:
        """Write it beside the gallery's files.

        Raises:
            OutputError: It cannot be written.
        """
        write_file(table_root(str(gallery)) / OWN / RECORD, json.dumps(vars(self)))


@dataclass(frozen=True)
class Mirrored:
    """What was done to a gallery.

    Attributes:
        added: Pictures that are new or have changed.
        removed: Pictures that are gone.
        broken: Why pictures are left out, by their ids.
    """

    added: int
    removed: int
    broken: Mapping[str, str]


def states(files: Mapping[str, Path]) -> dict[str, State]:
    """The state of every file that is there.

    Raises:
        InputError: One cannot be looked at, so that it is not known whether it is there.
    """
    found = {}
    for name, path in files.items():
        try:
            status = path.stat()
        except FileNotFoundError:  # removed since the folder was listed, or a link to nowhere
            continue
        except OSError as error:
            raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
        found[name] = status.st_size, status.st_mtime_ns
    return found


def check_images(gallery: Gallery) -> None:
    """Refuse a gallery that holds no images.

    Raises:
        GalleryError: It holds texts.
    """
    if gallery.modality != "image":
        raise GalleryError(
            f"{gallery.path}: holds texts, and this makes galleries of images; give another "
            "gallery (--gallery), or show this one with itr-deploy serve"
        )


def kept_record(gallery: Gallery, folder: Path, kind: Kind, now: Mapping[str, State]) -> Record:
    """What a gallery was made from; what `index` made has no record, and is taken as it is.

    Args:
        gallery: The gallery.
        folder: The folder that it is to be like.
        kind: What the folder holds.
        now: The state of the folder's pictures.

    Raises:
        GalleryError: It holds texts, or was made from another folder or from what else this held.
    """
    check_images(gallery)
    path = table_root(gallery.path) / OWN / RECORD
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        record = Record(
            str(told["folder"]),
            told["kind"],
            {str(name): (int(size), int(time)) for name, (size, time) in told["files"].items()},
            {str(n): (int(s), int(t), str(why)) for n, (s, t, why) in told["broken"].items()},
            bool(told.get("taken", False)),
        )
    except FileNotFoundError:
        there = set(gallery.ids())
        own = {name: state for name, state in now.items() if name in there}
        if there and now and not own:
            raise GalleryError(
                f"{gallery.path}: holds no picture of {folder}, but {len(there):,} other items; "
                "give another gallery (--gallery)"
            ) from None
        return Record(str(folder), kind, own, taken=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GalleryError(
            f"{path}: cannot be read ({str(error)[:80]}); remove it to take the gallery as it is"
        ) from error
    if record.folder != str(folder):
        raise GalleryError(
            f"{gallery.path}: made from {record.folder}, not from {folder}; give another gallery "
            "(--gallery)"
        )
    if record.kind != kind:
        raise GalleryError(
            f"{gallery.path}: made from the {record.kind} of {folder}, which holds {kind} now; "
            "move them to a folder of their own, or give another gallery (--gallery)"
        )
    return record


def mirror(
    gallery: Gallery,
    record: Record,
    files: Mapping[str, Path],
    begin: Callable[[Any, int], object],
    progress: Callable[[int, int], object],
) -> Mirrored:
    """Make a gallery hold a folder's pictures: no more, no less, and each as it is now.

    What is done is committed part by part, so that the next run goes on after a kill.

    Args:
        gallery: The gallery, with a matcher that takes pictures.
        record: What it was made from.
        files: The folder's pictures by their ids.
        begin: Called with what is encoded and how many are left, before the first is.
        progress: Called with how many pictures are done, and of how many.

    Raises:
        GalleryBusyError: Another writer is at it for longer than the timeout.
        GalleryError: The gallery cannot be written.
        InputError: A picture cannot be looked at.
        OutputError: The disk refuses the write.
    """
    now, there = states(files), set(gallery.ids())
    gone = {name for name in there if name not in now and name in record.files}
    if gone:
        gallery.delete(sorted(gone))
    changed = sorted(name for name in there - gone if record.files.get(name) != now.get(name))
    new = [
        name
        for name in now
        if name not in there and (name not in record.broken or record.broken[name][:2] != now[name])
    ]
    record.files = {name: record.files[name] for name in record.files if name in there - gone}
    record.broken = {name: known for name, known in record.broken.items() if name in now}
    record.keep(gallery.path)
    writing = _Writing(gallery, record, files, now, begin, progress, len(changed) + len(new))
    writing.update(changed)
    writing.add(new)
    broken = {name: why for name, (_, _, why) in record.broken.items()}
    return Mirrored(len(changed) + len(new) - writing.broken, len(gone), broken)


@dataclass
class _Writing:
    """Writes a folder's pictures into a gallery, part by part.

    Attributes:
        total: How many there are to write.
        done: How many are done.
        broken: How many of these cannot be used.
    """

    gallery: Gallery
    record: Record
    files: Mapping[str, Path]
    now: Mapping[str, State]
    begin: Callable[[Any, int], object]
    progress: Callable[[int, int], object]
    total: int
    done: int = 0
    broken: int = 0

    def update(self, names: Sequence[str]) -> None:
        """Encode pictures anew that have changed; the user's columns stay as they are."""
        for start in range(0, len(names), PART):
            part = names[start : start + PART]
            given = self._given(part)
            self.begin(given.items, len(part))
            self.gallery.update(part, given.items, progress=self._advance)
            if given.broken:
                self.gallery.delete(list(given.broken))
            self._note(part, given.broken)
            self.done += len(part)

    def add(self, names: Sequence[str]) -> None:
        """Encode pictures that are new."""
        if not names:
            return
        given = self._given(names)

        def committed() -> None:
            stored = set(self.gallery.ids())
            self._note([name for name in names if name in stored], {})

        add_in_parts(
            self.gallery,
            names,
            given.items,
            None,
            self._advance,
            begin=lambda left: self.begin(given.items, len(left)),
            committed=committed,
        )
        self._note([], given.broken)

    def _given(self, names: Sequence[str]) -> ToIndex:
        matcher = self.gallery.matcher
        assert matcher is not None
        any_number = bool(self.gallery.description.ragged)
        return of_pictures(
            matcher, {name: self.files[name] for name in names}, any_number=any_number
        )

    def _advance(self, done: int) -> None:
        self.progress(self.done + done, self.total)

    def _note(self, stored: Sequence[str], broken: Mapping[str, str]) -> None:
        """Write down what was stored, and what cannot be."""
        self.record.files |= {name: self.now[name] for name in stored}
        for name, why in broken.items():
            self.record.files.pop(name, None)
            self.record.broken[name] = (*self.now[name], why)
        self.broken += len(broken)
        self.record.keep(self.gallery.path)
