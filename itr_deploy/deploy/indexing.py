"""`index` and `index_coarse`: make a gallery from a split, and the index of a large gallery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itr_deploy.bundle.leftovers import entries
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.errors import GalleryError, InputError, UsageError
from itr_deploy.evaluation.data.metadata import metadata_columns
from itr_deploy.evaluation.data.split import read_images, read_split
from itr_deploy.runtime.detector.detector import Detector
from itr_deploy.runtime.detector.images import DetectedImages, numbers_of_regions
from itr_deploy.runtime.detector.kept import KeptDetections
from itr_deploy.runtime.encoding.pictures import CheckedPictures
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.coarse_index import FROM
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT, replacing
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.pictures.folder import picture_files
from itr_deploy.runtime.rerank.store import FOLDER, is_store
from itr_deploy.values import FLAG, FUNCTION, PATH, SECONDS, TEXT, checked, choice, whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexed:
    """A gallery after items were added to it.

    Attributes:
        gallery: Its directory or address.
        modality: Modality of its items.
        added: Number of items that this call added.
        items: Number of items that it has now.
        coarse_indexed: Number of items in the coarse index, 0 if there is none.
        broken: Why pictures were left out, by their ids.
    """

    gallery: str
    modality: Modality
    added: int
    items: int
    coarse_indexed: int
    broken: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report; ``broken`` is there if there are any."""
        return {name: value for name, value in vars(self).items() if name != "broken" or value}


@checked(
    bundle=PATH,
    data=PATH,
    pictures=PATH,
    detector=PATH,
    proposals=whole(1),
    output=PATH,
    split=TEXT,
    modality=choice(Modality),
    storage=choice(StorageType),
    metadata=PATH,
    coarse_index=FLAG,
    append=FLAG,
    force=FLAG,
    lock_timeout=SECONDS,
    device=TEXT,
    backend=TEXT,
    progress=FUNCTION,
    tell=FUNCTION,
)
def index(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    pictures: str | Path | None = None,
    detector: str | Path | None = None,
    proposals: int | None = None,
    output: str | Path,
    split: str = "test",
    modality: Modality = "image",
    storage: StorageType | None = None,
    metadata: str | Path | None = None,
    coarse_index: bool | None = None,
    append: bool = False,
    force: bool = False,
    lock_timeout: float = DEFAULT_TIMEOUT,
    device: str = "cpu",
    backend: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Indexed:
    """Encode a split's images or captions, or a folder's pictures, with a bundle into a gallery.

    A new gallery appears only when it is complete. What a detector finds is kept beside it until
    then: the same call after a killed one looks at the other pictures alone. Captions get the
    columns ``text`` and ``image_id``. A picture that cannot be used is left out, and named in the
    result. With a detector, the regions' boxes and the pictures' sizes are stored too.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, ``_ids.txt`` if the images have
            ids, and for captions ``_caps.txt``.
        pictures: Directory of pictures instead, for a bundle whose model starts from pixels, or
            with ``detector``; the ids are their paths relative to it.
        detector: The bundle of the region detector that the model was trained with, for a model
            that takes regions.
        proposals: How many proposals the detector looks at in a picture, see `Detector.regions`.
        output: Directory of the gallery to make or, with ``append``, to extend.
        split: Name of the split.
        modality: Whether to index its images or its captions.
        storage: Type of the stored tensors; float16 for a new gallery, the gallery's with
            ``append``. int8 takes half of float16's space.
        metadata: CSV file with a column ``id`` and user columns for the gallery.
        coarse_index: Build the coarse index; by default for 500,000 items or more.
        append: Add to an existing gallery.
        force: Replace an existing gallery.
        lock_timeout: Seconds to wait for another writer of the gallery to finish.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        progress: Called with the number of items encoded so far and the total.
        tell: Called with a line on how long a detector will take, by the first pictures.

    Raises:
        BundleError: The bundle is damaged.
        GalleryBusyError: Another writer is at the gallery for longer than ``lock_timeout``.
        GalleryError: The gallery to extend does not belong to this bundle, or holds items of
            another modality or storage.
        InputError: The data or the metadata cannot be used; the message says why.
        OutputError: The output exists, or writing fails.
        UsageError: Both ``force`` and ``append`` were given, or not exactly one of ``data`` and
            ``pictures``, or pictures for a model that takes regions and no detector.
    """
    if (data is None) == (pictures is None):
        raise UsageError("give data= (--data) or pictures= (--pictures), one of them")
    if force and append:
        raise UsageError(
            "force=True (--force) replaces a gallery and append=True (--append) extends it; "
            "give one"
        )
    if detector is not None and pictures is None:
        raise UsageError("detector= (--detector) is for pictures; give pictures= (--pictures)")
    if proposals is not None and detector is None:
        raise UsageError("proposals= (--proposals) are a detector's; give detector= (--detector)")
    output = Path(output)
    if not append:
        check_output(output, force=force, replaceable=is_gallery, kind="gallery")
    finder = None
    if detector is not None:
        finder = Detector.load(detector, device=device, proposals=proposals)
    matcher = Matcher.load(bundle, device=device, backend=backend, detector=finder)
    if pictures is not None:
        # What a new gallery holds, its first images decide.
        any_number = not append or bool(Gallery.open(output).description.ragged)
        ids, items, columns = _pictures(matcher, Path(pictures), modality, output, any_number)
    else:
        assert data is not None
        pixels = bool(matcher.bundle.manifest.images.pictures)
        ids, items, columns = _items(Path(data), split, modality, pixels)
    if metadata is not None:
        columns |= metadata_columns(Path(metadata), ids, taken=list(columns))

    def advance(done: int) -> None:
        progress(done, len(ids))

    if append:
        existing = Gallery.open(output, matcher, lock_timeout=lock_timeout)
        _check_extended(existing, modality, storage)
        _tell_time(items, tell)
        existing.add(ids, items, columns, advance)
        _check_any(items, len(ids))
    else:
        last = f"{TABLE}.lance"
        staged = staged_directory(
            output, force=force, replaceable=is_gallery, kind="gallery", last=last
        )
        with replacing(output, lock_timeout) if force else nullcontext(), staged as root:
            made = Gallery.create(root, matcher, modality, storage)
            _tell_time(items, tell)
            made.add(ids, items, columns, advance)
            _check_any(items, len(ids))
    if isinstance(items, DetectedImages) and items.kept is not None:
        items.kept.clear()
    gallery = Gallery.open(output, matcher, lock_timeout=lock_timeout)
    if coarse_index or (coarse_index is None and gallery.count() >= FROM):
        log.info("%s: building the coarse index", output)
        gallery.build_coarse_index()
    broken = {}
    if isinstance(items, (CheckedPictures, DetectedImages)):
        broken = {ids[number]: why for number, why in items.broken.items()}
    return _indexed(gallery, len(ids) - len(broken), broken)


@checked(
    gallery=PATH,
    lock_timeout=SECONDS,
)
def index_coarse(gallery: str | Path, *, lock_timeout: float = DEFAULT_TIMEOUT) -> Indexed:
    """Build the index of a gallery's coarse embeddings, or rebuild it over all items.

    This is for galleries too large to keep those embeddings in memory. Searches then shortlist
    approximately.

    Args:
        gallery: The gallery's directory.
        lock_timeout: Seconds to wait for another writer of the gallery to finish.

    Raises:
        GalleryBusyError: Another writer is at it for longer than ``lock_timeout``.
        GalleryError: The gallery is missing or cannot be indexed.
    """
    opened = Gallery.open(gallery, lock_timeout=lock_timeout)
    opened.build_coarse_index()
    return _indexed(opened, 0)


def is_gallery(path: Path) -> bool:
    """Whether a directory holds only a gallery's table, with or without its scores of a bank."""
    names = entries(path)
    stored = FOLDER in names and is_store(path / FOLDER)
    return names - ({FOLDER} if stored else set()) == {f"{TABLE}.lance"}


def _check_extended(gallery: Gallery, modality: Modality, storage: StorageType | None) -> None:
    """Refuse to add items of another modality, or stored otherwise than was asked for.

    Raises:
        GalleryError: The gallery's modality or storage is another one.
    """
    about = gallery.description
    if about.modality != modality:
        raise GalleryError(
            f"{gallery.path}: holds {about.modality}s; add them with "
            f"modality={about.modality!r} (--modality {about.modality}), or make another gallery"
        )
    if storage not in (None, about.storage):
        raise GalleryError(
            f"{gallery.path}: stores {about.storage}, not {storage}; leave storage out, or make "
            "another gallery"
        )


def _items(
    data: Path, split: str, modality: Modality, pictures: bool
) -> tuple[Sequence[str], Any, dict[str, Sequence[Any]]]:
    """Ids, items and own columns of a split's images or captions."""
    if modality == "image":
        images = read_images(data, split, pictures=pictures)
        return images.ids, images.given, {}
    read = read_split(data, split, pictures=pictures)
    columns: dict[str, Sequence[Any]] = {"text": read.captions, "image_id": read.image_of_caption}
    return read.caption_ids, read.captions, columns


def _pictures(
    matcher: Matcher, root: Path, modality: Modality, output: Path, any_number: bool
) -> tuple[Sequence[str], Any, dict[str, Sequence[Any]]]:
    """Ids and items of a folder's pictures."""
    if modality != "image":
        raise UsageError("pictures= (--pictures) are images; leave modality= (--modality) out")
    about, detector = matcher.bundle.manifest.images, matcher.detector
    if not about.pictures and detector is None:
        raise UsageError(
            f"{matcher.bundle.path}: its model takes features of regions, not pictures; give the "
            "region detector that it was trained with, detector= (--detector), or data= (--data) "
            "with features, or a bundle of a model that starts from pixels"
        )
    files = picture_files(root)
    ids, given = list(files), list(files.values())
    if detector is None:
        return ids, CheckedPictures(given, names=ids, skip_broken=True), {}
    kept = KeptDetections(output, detector, numbers_of_regions(detector, about), given)
    options: dict[str, Any] = {"skip_broken": True, "any_number": any_number, "kept": kept}
    return ids, DetectedImages(detector, about, given, names=ids, **options), {}


def _tell_time(items: Any, tell: Callable[[str], None]) -> None:
    """Say how long a detector will take, by the first pictures."""
    if not isinstance(items, DetectedImages):
        return
    kept, all_ = len(items.kept or ()), len(items)
    seconds = items.seconds_a_picture()
    before = f"an earlier run found them in {kept:,} of these, " if kept else ""
    if seconds is not None:
        whole = lasting(seconds * (all_ - kept))
        tell(f"regions of {all_:,} pictures: {before}{seconds:.2g} s each, {whole} in all")
    elif kept:
        tell(f"regions of {all_:,} pictures: {before}the rest cannot be used")


def lasting(seconds: float) -> str:
    """A duration in words, to two units at most: "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "less than a second"


def _check_any(items: Any, count: int) -> None:
    """Refuse a folder without a single picture that can be used.

    Raises:
        InputError: There is none.
    """
    if isinstance(items, (CheckedPictures, DetectedImages)) and len(items.broken) == count:
        use = "decoded" if isinstance(items, CheckedPictures) else "used"
        first = next(iter(items.broken.values()))
        raise InputError(f"none of {count} pictures can be {use}, such as {first}")


def _indexed(
    gallery: Gallery, added: int, broken: Mapping[str, str] = MappingProxyType({})
) -> Indexed:
    about = gallery.path, gallery.modality
    return Indexed(*about, added, gallery.count(), gallery.coarse_indexed, dict(broken))
