"""`index` and `index_coarse`: make a gallery from a split, and the index of a large gallery."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itr_deploy.bundle.leftovers import Resumption, entries
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.deploy.to_index import ToIndex, extracted_items, picture_items, split_items
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.evaluation.data.metadata import metadata_columns
from itr_deploy.runtime.detector.detector import Detector
from itr_deploy.runtime.detector.images import DetectedImages
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.coarse_index import FROM
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT, replacing
from itr_deploy.runtime.gallery.parts import add_in_parts
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.store import FOLDER, is_store
from itr_deploy.values import FLAG, FUNCTION, PATH, SECONDS, TEXT, checked, choice, whole

log = logging.getLogger(__name__)

SPLIT = "test"
"""The split that is indexed by default."""


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
    features=PATH,
    ids=PATH,
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
    looking=FUNCTION,
)
def index(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    pictures: str | Path | None = None,
    detector: str | Path | None = None,
    proposals: int | None = None,
    features: str | Path | None = None,
    ids: str | Path | None = None,
    output: str | Path,
    split: str = SPLIT,
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
    looking: Callable[[str, int, int], object] = lambda step, done, total: None,
) -> Indexed:
    """Encode a split's images or captions, pictures, or an extractor's file into a gallery.

    A new gallery appears only when it is complete. If the process is killed or interrupted, the
    same call goes on from what was stored until then; what comes after the last commit is lost,
    half a minute or a tenth of the work, up to ten minutes. Captions get the columns ``text`` and
    ``image_id``. A picture that cannot be used is left out, and named in the result. With a
    detector, the regions' boxes and the pictures' sizes are stored too.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, ``_ids.txt`` if the images have
            ids, and for captions ``_caps.txt``.
        pictures: Directory of pictures instead, for a bundle whose model starts from pixels, or
            with ``detector``; the ids are their paths relative to it.
        detector: The bundle of the region detector that the model was trained with, for a model
            that takes regions.
        proposals: How many proposals the detector looks at in a picture, see `Detector.regions`.
        features: An extractor's file or folder instead, as `convert` takes it: read image by image,
            with boxes and picture sizes if every image has both.
        ids: File of image ids, one a line: which images of ``features``, and their order.
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
        looking: Called while ``features`` are looked through, before any is encoded: with the step,
            how much of it is done, and of how much.

    Raises:
        BundleError: The bundle is damaged.
        GalleryBusyError: Another writer is at the gallery for longer than ``lock_timeout``.
        GalleryError: The gallery to extend does not belong to this bundle, or holds items of
            another modality or storage.
        InputError: The data or the metadata cannot be used; the message says why.
        OutputError: The output exists, or writing fails.
        SetupError: ``features`` are HDF5, and h5py is not installed.
        UsageError: Both ``force`` and ``append`` were given, or not exactly one of ``data``,
            ``pictures`` and ``features``, or ``pictures`` or ``features`` with a split, or the
            bundle's model does not take such images and no detector is given.
    """
    if [data, pictures, features].count(None) != 2:
        raise UsageError(
            "give data= (--data), pictures= (--pictures) or features= (--features), one of them"
        )
    if ids is not None and features is None:
        raise UsageError("ids= (--ids) chooses images of features= (--features); give both")
    if data is None and split != SPLIT:
        given_as = "pictures= (--pictures)" if features is None else "features= (--features)"
        raise UsageError(
            f"{given_as} have no splits; leave split={split!r} (--split) out, or give data= "
            "(--data)"
        )
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
    existing = None
    if append:
        existing = Gallery.open(output, matcher, lock_timeout=lock_timeout)
        _check_extended(existing, modality, storage)
    if features is not None:
        chosen = None if ids is None else Path(ids)
        given = extracted_items(matcher, Path(features), chosen, modality, looking)
    elif pictures is not None:
        # What a new gallery holds, its first images decide.
        any_number = existing is None or bool(existing.description.ragged)
        given = picture_items(matcher, Path(pictures), modality, any_number=any_number)
    else:
        assert data is not None
        given = split_items(matcher, Path(data), split, modality)
    names, columns = given.ids, given.columns
    if metadata is not None:
        # They become the items' own columns, and so a part of what a run is gone on with by.
        columns |= metadata_columns(Path(metadata), names, taken=list(columns))

    def advance(done: int) -> None:
        progress(done, len(names))

    if existing is not None:
        tell_time(given.items, range(len(names)), tell)
        existing.add(names, given.items, columns, advance)
        given.check_any()
    else:
        made_with = {"modality": modality, "storage": storage, "device": device, "backend": backend}
        if finder is not None:
            about = finder.bundle.manifest
            made_with |= {
                "detector": about.encoding_id,
                "detector_precision": about.precision,
                "proposals": str(finder.proposals),
            }
        resumption = _resumption(matcher, given, made_with)
        staged = staged_directory(
            output,
            force=force,
            replaceable=is_gallery,
            kind="gallery",
            last=f"{TABLE}.lance",
            resumption=resumption,
        )
        with replacing(output, lock_timeout) if force else nullcontext(), staged as root:
            if resumption.is_kept(root):
                made = Gallery.open(root, matcher)
                log.info("%s: going on after %d items", output, made.count())
            else:
                made = Gallery.create(root, matcher, modality, storage)
            add_in_parts(
                *(made, names, given.items, columns, advance),
                begin=lambda left: tell_time(given.items, left, tell),
                committed=lambda: resumption.keep(root),
            )
            given.check_any()
    gallery = Gallery.open(output, matcher, lock_timeout=lock_timeout)
    if coarse_index or (coarse_index is None and gallery.count() >= FROM):
        log.info("%s: building the coarse index", output)
        gallery.build_coarse_index()
    broken = given.broken
    return _indexed(gallery, len(names) - len(broken), broken)


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


def tell_time(items: Any, left: Sequence[int], tell: Callable[[str], None]) -> None:
    """Say how long a detector will take for the pictures that are left, by the first of them."""
    if not isinstance(items, DetectedImages):
        return
    items.expect(left)
    seconds = items.seconds_a_picture()
    before = len(items) - len(left)
    stored = f"{before:,} are stored; " if before else ""
    if seconds is not None:
        whole = lasting(seconds * len(left))
        tell(f"regions of {len(items):,} pictures: {stored}{seconds:.2g} s each, {whole} in all")
    elif before:
        tell(f"regions of {len(items):,} pictures: {stored}the rest cannot be used")


def lasting(seconds: float) -> str:
    """A duration in words, to two units at most: "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "less than a second"


def _resumption(matcher: Matcher, given: ToIndex, made_with: dict[str, str | None]) -> Resumption:
    """What goes on with the gallery of a run that was stopped, if it was made of the same."""
    made_of = {
        "itr_deploy": version("itr-deploy"),
        "encoding": matcher.bundle.manifest.encoding_id,
        "precision": matcher.bundle.manifest.precision,
        "items": given.state(),
        **made_with,
    }

    def is_sound(root: Path) -> bool:
        try:
            gallery = Gallery.open(root, matcher)
            gallery.opened.check_contents()
        except GalleryError as error:
            log.info("what a stopped run left cannot be gone on with: %s", error)
            return False
        return True

    return Resumption(json.dumps(made_of).encode(), is_sound)


def _indexed(
    gallery: Gallery, added: int, broken: Mapping[str, str] = MappingProxyType({})
) -> Indexed:
    about = gallery.path, gallery.modality
    return Indexed(*about, added, gallery.count(), gallery.coarse_indexed, dict(broken))
