"""`convert`: extractors' files into the layout that `index` and `evaluate` read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.leftovers import entries as names_in
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.evaluation.data.features import check_split_name
from itr_deploy.evaluation.data.sources.choosing import choose
from itr_deploy.evaluation.data.writing import FEATURES, write_regions, written_files
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked

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
            of ``ID.npy``, one an image; HDF5 of the VQA and captioning programs.
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
        SetupError: The source is HDF5, and h5py is not installed.
        UsageError: No file can have the split's name.
    """
    source, output = Path(source), Path(output)
    check_split_name(split)
    own = written_files(split)

    def replaceable(path: Path) -> bool:
        return FEATURES.format(split=split) in (found := names_in(path)) and found <= own

    check_output(output, force=force, replaceable=replaceable, kind=KIND)
    chosen = choose(source, None if ids is None else Path(ids), progress)
    with staged_directory(
        output,
        force=force,
        replaceable=replaceable,
        kind=KIND,
        last=FEATURES.format(split=split),
    ) as root:
        write_regions(
            *(root, split, chosen),
            lambda done, total: progress("writing images", done, total),
        )
    return Converted(
        data=str(output),
        split=split,
        images=len(chosen.entries),
        feature_dim=chosen.entries[0].width,
        least_regions=int(chosen.counts.min()),
        most_regions=int(chosen.counts.max()),
        boxes=chosen.have_boxes,
        repeated=chosen.repeated,
    )
