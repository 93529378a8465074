"""`index` and `index_coarse`: make a gallery from a split, and the index of a large gallery."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from itr_deploy.bundle.leftovers import Resumption
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.deploy.bulk.bulk import Bulk, Target
from itr_deploy.deploy.expected_time import tell_time
from itr_deploy.deploy.index_request import SPLIT, IndexRequest
from itr_deploy.deploy.indexed import Indexed, index_if_large, is_gallery, of_gallery
from itr_deploy.deploy.storing import NewInStore, index_in_store
from itr_deploy.deploy.to_index import ToIndex
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.cpus import MOST_THREADS
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT, replacing
from itr_deploy.runtime.gallery.parts import add_in_parts
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.values import FLAG, FUNCTION, GALLERY, PATH, SECONDS, TEXT, checked, choice, whole

log = logging.getLogger(__name__)


@checked(
    bundle=PATH,
    data=PATH,
    pictures=PATH,
    detector=PATH,
    proposals=whole(1),
    features=PATH,
    ids=PATH,
    output=GALLERY,
    split=TEXT,
    modality=choice(Modality),
    storage=choice(StorageType),
    metadata=PATH,
    coarse_index=FLAG,
    parts=whole(1),
    part=whole(0),
    commit=FLAG,
    ray=TEXT,
    actors=whole(1),
    threads=whole(1, MOST_THREADS),
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
    parts: int | None = None,
    part: int | None = None,
    commit: bool = False,
    ray: str | None = None,
    actors: int | None = None,
    threads: int | None = None,
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

    Several processes, on any machines that see the output, make a gallery with ``parts`` and
    ``part``, each a slice of the items, in the directory ``{output}.parts``; one then puts them
    together with ``commit``. With ``ray`` this call does all of it (docs/guides/bulk.md).

    In an object store a new gallery is one commit: it is not gone on with, and nobody sees it
    before (docs/guides/stores.md).

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
        output: The gallery to make or, with ``append``, to extend: a directory, or a place in an
            object store, such as ``s3://bucket/gallery``.
        split: Name of the split.
        modality: Whether to index its images or its captions.
        storage: Type of the stored tensors; float16 for a new gallery, the gallery's with
            ``append``. int8 takes half of float16's space.
        metadata: CSV file with a column ``id`` and user columns for the gallery.
        coarse_index: Build the coarse index; by default for 500,000 items or more.
        parts: In how many parts a gallery is made; with ``ray`` four an actor by default.
        part: Encode only this one, from 0 on, and tell of it; what is finished is not made again.
        commit: Make the gallery of all parts, in one version, and remove them; takes the bundle and
            the output alone.
        ray: Make the parts with actors of Ray, then commit: the address of a cluster, or
            ``"local"`` for one on this machine, for as long as the call lasts. A cluster that the
            process is connected to is used in any case.
        actors: How many, by default one on each machine.
        threads: Threads that each of them computes on, by default all of its machine.
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
            another modality or storage. Or a part is missing, damaged, or made of other items.
        InputError: The data or the metadata cannot be used; the message says why.
        OutputError: The output exists, or writing fails.
        SetupError: ``features`` are HDF5, and h5py is not installed; or pylance or Ray is needed
            and not installed, or no cluster found, or its processes end again and again.
        UsageError: Both ``force`` and ``append`` were given, or not exactly one of ``data``,
            ``pictures`` and ``features``, or ``pictures`` or ``features`` with a split, or the
            bundle's model does not take such images and no detector is given. Or parts are asked
            for in an object store.
    """
    if not isinstance(output, StoreUrl):
        output = Path(output)
    request = IndexRequest(
        bundle=Path(bundle),
        data=None if data is None else Path(data),
        pictures=None if pictures is None else Path(pictures),
        detector=None if detector is None else Path(detector),
        proposals=proposals,
        features=None if features is None else Path(features),
        ids=None if ids is None else Path(ids),
        split=split,
        modality=modality,
        storage=storage,
        metadata=None if metadata is None else Path(metadata),
        device=device,
        backend=backend,
    )
    bulk = Bulk(parts, part, commit, ray, actors, threads)
    bulk.check()
    if not commit:
        request.check()
    if force and append:
        raise UsageError(
            "force=True (--force) replaces a gallery and append=True (--append) extends it; "
            "give one"
        )
    if bulk.is_asked:
        if append:
            raise UsageError(
                "append=True (--append) extends a gallery in one go; make a new one in parts, or "
                "leave parts= (--parts), commit= (--commit) and ray= (--ray) out"
            )
        if isinstance(output, StoreUrl):
            raise UsageError(
                f"output={output!r} (--output): is in an object store, and parts lie in local "
                "files; make the gallery in a directory and copy it there, or leave parts= "
                "(--parts), commit= (--commit) and ray= (--ray) out"
            )
        target = Target(output, force, lock_timeout, coarse_index)
        return bulk.run(request, target, progress=progress, looking=looking, tell=tell)
    if isinstance(output, StoreUrl) and not append:
        how = NewInStore(output, modality, storage, coarse_index, force, lock_timeout)
        return index_in_store(request, how, progress=progress, looking=looking, tell=tell)
    if not append:
        assert not isinstance(output, StoreUrl)
        check_output(output, force=force, replaceable=is_gallery, kind="gallery")
    matcher = request.load()
    existing = None
    if append:
        existing = Gallery.open(output, matcher, lock_timeout=lock_timeout)
        _check_extended(existing, modality, storage)
    any_number = existing is None or bool(existing.description.ragged)
    given = request.items(matcher, looking, any_number=any_number)
    names, columns = given.ids, given.columns

    def advance(done: int) -> None:
        progress(done, len(names))

    if existing is not None:
        tell_time(given.items, range(len(names)), tell)
        existing.add(names, given.items, columns, advance)
        given.check_any()
    else:
        assert not isinstance(output, StoreUrl)
        made_with = {"modality": modality, "storage": storage, **request.made_with(matcher)}
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
    index_if_large(gallery, coarse_index)
    broken = given.broken
    return of_gallery(gallery, len(names) - len(broken), broken)


@checked(
    gallery=GALLERY,
    lock_timeout=SECONDS,
)
def index_coarse(gallery: str | Path, *, lock_timeout: float = DEFAULT_TIMEOUT) -> Indexed:
    """Build the index of a gallery's coarse embeddings, or rebuild it over all items.

    This is for galleries too large to keep those embeddings in memory. Searches then shortlist
    approximately.

    Args:
        gallery: The gallery's directory, or its place in an object store.
        lock_timeout: Seconds to wait for another writer of the gallery to finish.

    Raises:
        GalleryBusyError: Another writer is at it for longer than ``lock_timeout``.
        GalleryError: The gallery is missing or cannot be indexed.
    """
    opened = Gallery.open(gallery, lock_timeout=lock_timeout)
    opened.build_coarse_index()
    return of_gallery(opened, 0)


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
