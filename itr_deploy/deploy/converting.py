"""`convert`: extractors' files into the layout that `index` and `evaluate` read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.leftovers import entries as names_in
from itr_deploy.bundle.names import first_repeated
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.features import check_split_name
from itr_deploy.evaluation.data.lines import read_lines
from itr_deploy.evaluation.data.sources.opening import open_source
from itr_deploy.evaluation.data.sources.source import Entry, Source
from itr_deploy.evaluation.data.writing import FEATURES, are_placed, write_regions, written_files
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked

log = logging.getLogger(__name__)

KIND = "converted split"


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        data: The directory.
        split: Name of the split.
        images: Number of images.
        feature_dim: Number of features of a region.
        least_regions: The fewest regions of an image.
        most_regions: The most.
        boxes: Whether boxes and picture sizes were written.
        repeated: Number of entries of the source that were left out as their image came before.
    """

    data: str
    split: str
    images: int
    feature_dim: int
    least_regions: int
    most_regions: int
    boxes: bool
    repeated: int

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return dict(vars(self))


@checked(source=PATH, output=PATH, split=TEXT, ids=PATH, force=FLAG, progress=FUNCTION)
def convert(
    source: str | Path,
    *,
    output: str | Path,
    split: str = "test",
    ids: str | Path | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], object] = lambda step, done, total: None,
) -> Converted:
    """Write region features that an extractor left as a split of a data directory.

    The source is looked through once, then read image by image, so that memory does not grow with
    it. Features become float32. Boxes and picture sizes are written if every image has both.

    Args:
        source: A table of the Caffe extractors (TSV, base64), or a folder of its parts; a folder
            of ``ID.npz`` (``x``, and if there ``bbox``, ``num_bbox``, ``image_w``, ``image_h``) or
            of ``ID.npy``, one an image.
        output: Directory to make; must not exist unless ``force`` is given.
        split: Name of the split, the beginning of the files' names.
        ids: File of image ids, one a line: which images, and their order. By default all, in the
            order of the source.
        force: Replace a directory that holds this split's converted files and nothing else.
        progress: Called with the step, how much of it is done, and of how much.

    Raises:
        InputError: The source or the ids cannot be read, are damaged, or do not fit; names file,
            line and image.
        OutputError: The output exists, or writing fails.
        UsageError: No file can have the split's name.
    """
    source, output = Path(source), Path(output)
    check_split_name(split)
    own = written_files(split)

    def replaceable(path: Path) -> bool:
        return FEATURES.format(split=split) in (found := names_in(path)) and found <= own

    check_output(output, force=force, replaceable=replaceable, kind=KIND)
    wanted = None if ids is None else _read_ids(Path(ids))
    opened = open_source(source)

    def looked_through(done: int, total: int) -> None:
        progress(f"looking through ({opened.unit})", done, total)

    found, repeated = _unique(source, opened, looked_through)
    chosen = list(found.values()) if wanted is None else _chosen(source, found, wanted, ids)
    _check(source, chosen)
    with staged_directory(
        output,
        force=force,
        replaceable=replaceable,
        kind=KIND,
        last=FEATURES.format(split=split),
    ) as root:
        write_regions(
            *(root, split, opened, chosen),
            lambda done, total: progress("writing images", done, total),
        )
    counts = [entry.regions for entry in chosen]
    return Converted(
        data=str(output),
        split=split,
        images=len(chosen),
        feature_dim=chosen[0].width,
        least_regions=min(counts),
        most_regions=max(counts),
        boxes=are_placed(chosen),
        repeated=repeated,
    )


def _unique(
    source: Path, opened: Source, tell: Callable[[int, int], object]
) -> tuple[dict[str, Entry], int]:
    """The images by id, the first of each, and how many others there are."""
    found: dict[str, Entry] = {}
    repeated: list[Entry] = []
    for entry in opened.entries(tell):
        if found.setdefault(entry.id, entry) is not entry:
            repeated.append(entry)
    if repeated:
        log.warning(
            "%s: %d entries are of images that came before, such as %r; the first of each is kept",
            *(source, len(repeated), repeated[0].id),
        )
    return found, len(repeated)


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
            f"{path}: id {double!r} is there twice; every image is written once: uniq old > new "
            "leaves one of lines that follow each other"
        )
    return wanted


def _chosen(
    source: Path, found: dict[str, Entry], wanted: Sequence[str], ids: str | Path | None
) -> list[Entry]:
    missing = [number for number, name in enumerate(wanted, 1) if name not in found]
    if missing:
        such = next(iter(found), None)
        raise InputError(
            f"{ids}: {len(missing)} of {len(wanted)} ids are not in {source}, the first on line "
            f"{missing[0]}: {wanted[missing[0] - 1]!r}; its ids look like {such!r}"
        )
    return [found[name] for name in wanted]


def _check(source: Path, chosen: Sequence[Entry]) -> None:
    """Refuse images that do not fit each other, before any of them is read.

    Raises:
        InputError: There are none, one has no regions, or features of another width than others.
    """
    if not chosen:
        raise InputError(f"{source}: there are no images")
    for entry in chosen:
        if not entry.regions:
            raise InputError(
                f"{entry.where}: has no regions; extract it again, or leave it out with ids= "
                "(--ids)"
            )
        if entry.width != chosen[0].width:
            raise InputError(
                f"{entry.where}: has {entry.width} features a region; "
                f"{chosen[0].id!r} has {chosen[0].width}"
            )
    lacking = sum(not (entry.boxes and entry.size) for entry in chosen)
    if lacking and any(entry.boxes for entry in chosen):
        log.warning(
            "%s: %d of %d images lack boxes or the picture's size; boxes are not written",
            *(source, lacking, len(chosen)),
        )
