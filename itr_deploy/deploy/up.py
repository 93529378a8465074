"""`up`: index what is new in a folder, then serve it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import read_bundle
from itr_deploy.deploy.expected_time import tell_time
from itr_deploy.deploy.index_request import SPLIT
from itr_deploy.deploy.indexed import is_gallery
from itr_deploy.deploy.indexing import index
from itr_deploy.deploy.mirroring import Kind, Record, kept_record, mirror, states
from itr_deploy.deploy.serving import check_can_serve, listening_on, run
from itr_deploy.deploy.to_index import ToIndex, extracted_items, split_items
from itr_deploy.errors import GalleryError, InputError, UsageError
from itr_deploy.runtime.detector.detector import Detector
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.files import table_root
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.pictures.folder import SUFFIXES, picture_files
from itr_deploy.runtime.retriever import DEFAULT_BUDGET, QUERY_BUDGET, Retriever
from itr_deploy.values import FUNCTION, GALLERY, PATH, TEXT, checked, in_no_store, whole

log = logging.getLogger(__name__)

DATA = ("*_ims.npy", "*_feat.npy")
"""Of a data directory in the field's layout."""
FEATURES = ("*.npz", "*.npy", "*.tsv", "*.hdf5", "*.h5")
"""Of an extractor's folder."""


@dataclass(frozen=True)
class Indexed:
    """What `up` did before it serves.

    Attributes:
        gallery: The gallery.
        items: Number of its items.
        added: Items that are new or have changed.
        removed: Items whose pictures are gone.
        broken: Why pictures are left out, by their ids.
    """

    gallery: Path
    items: int
    added: int
    removed: int
    broken: Mapping[str, str]


@checked(
    bundle=PATH,
    source=PATH,
    gallery=GALLERY,
    detector=PATH,
    pictures=PATH,
    split=TEXT,
    host=TEXT,
    port=whole(0, 65535),
    api_key_file=PATH,
    memory_budget=whole(0),
    query_budget=whole(0),
    device=TEXT,
    backend=TEXT,
    threads=whole(1, 1024),
    progress=FUNCTION,
    tell=FUNCTION,
    indexed=FUNCTION,
    ready=FUNCTION,
)
def up(
    bundle: str | Path,
    source: str | Path,
    *,
    gallery: str | Path | None = None,
    detector: str | Path | None = None,
    pictures: str | Path | None = None,
    split: str = SPLIT,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key_file: str | Path | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    query_budget: int = QUERY_BUDGET,
    device: str = "cpu",
    backend: str = "auto",
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
    indexed: Callable[[Indexed], object] = lambda result: None,
    ready: Callable[[str], object] = lambda url: None,
) -> int:
    """Index what is new in a folder of pictures or of region features, then serve it.

    The gallery becomes like the folder: pictures that are new or whose size or time of change is
    another are encoded, those that are gone are removed. Called again, it goes on from there, also
    after a kill. Of features, all are indexed anew if a file has changed, but not in place of a
    gallery that something else made.

    Args:
        bundle: The bundle's directory.
        source: Directory of pictures, for a bundle whose model starts from pixels or with
            ``detector``; or a data directory as `index` takes it, or an extractor's folder.
        gallery: The gallery to make or to go on with; by default beside the source, named after it
            and ending in ``.gallery``.
        detector: The bundle of the region detector that the model was trained with.
        pictures: Directory of the pictures that the features are of, for the page.
        split: The split of a data directory.
        host: The address to listen on, see `serve`.
        port: The port; 0 for any that is free.
        api_key_file: File of keys, see `serve`.
        memory_budget: Bytes of tensors to keep in memory, see `serve`.
        query_budget: Bytes of encoded texts to keep, see `serve`.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        threads: Compute threads on the CPU, see `Retriever.load`.
        progress: Called with the number of items encoded so far and the total.
        tell: Called with a line on how long a detector will take.
        indexed: Called with what was done, before the service loads.
        ready: Called with the address once searches are answered.

    Returns:
        The exit code of the service, see `serve`.

    Raises:
        BundleError: The bundle is damaged.
        GalleryBusyError: Another writer is at the gallery.
        GalleryError: The gallery holds texts, or was made with another bundle, from another folder
            or from another kind of files.
        InputError: The folder holds nothing that could be indexed.
        OutputError: The gallery cannot be written.
        SetupError: The address is taken, or what a service needs is not installed.
        UsageError: The bundle's model takes no pictures and there is no detector, or the gallery is
            in an object store.
    """
    if gallery is not None:
        gallery = in_no_store(
            "gallery",
            gallery,
            "up makes a local gallery like a folder; index into the store, and serve that",
        )
    check_can_serve()
    from itr_deploy.serving.settings import Settings, read_keys

    folder = Path(source).absolute()
    kind = kind_of(folder)
    manifest = read_bundle(bundle).manifest
    if kind == "pictures" and not manifest.images.pictures and detector is None:
        raise UsageError(
            f"{bundle}: its model takes features of regions, not pictures; give the region "
            "detector that it was trained with, detector= (--detector), or a directory of "
            f"features in place of {source}"
        )
    if kind != "pictures" and detector is not None and manifest.images.pictures:
        raise UsageError(
            f"{bundle}: its model starts from pixels; leave detector= (--detector) out"
        )
    where = Path(gallery) if gallery is not None else folder.parent / f"{folder.name}.gallery"
    if not table_root(str(where)).exists():
        remedy = "choose another place (--gallery)"
        check_output(where, force=False, replaceable=is_gallery, kind="gallery", remedy=remedy)
    if pictures is None and kind == "pictures":
        pictures = folder
    settings = Settings(
        pictures=None if pictures is None else Path(pictures),
        keys=() if api_key_file is None else read_keys(api_key_file, "api_key_file"),
    )
    with listening_on(host, port) as listening:
        finder = None if detector is None else Detector.load(detector, device, threads)
        matcher = Matcher.load(
            Path(bundle).absolute(),
            device=device,
            backend=backend,
            threads=threads,
            detector=finder,
        )
        how: dict[str, Any] = {"progress": progress, "tell": tell}
        if kind == "pictures":
            result = _pictures(matcher, folder, where, detector, device, backend, **how)
        else:
            result = _features(matcher, folder, where, kind, split, device, backend, **how)
        indexed(result)
        return run(
            settings,
            listening,
            bundle,
            lambda: Retriever(
                matcher,
                Gallery.open(where, matcher),
                memory_budget,
                query_budget=query_budget,
            ),
            ready,
        )


def kind_of(folder: Path) -> Kind:
    """What a folder holds.

    Raises:
        InputError: There is no such directory, nothing in it that could be indexed, or pictures
            beside an extractor's files.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory; give one of pictures or of features")
    if any(next(folder.glob(pattern), None) for pattern in DATA):
        return "data"
    features = (next(folder.glob(pattern), None) for pattern in FEATURES)
    if (file := next(filter(None, features), None)) is not None:
        pictures = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if (picture := next(pictures, None)) is not None:
            raise InputError(
                f"{folder}: holds features, such as {file.name}, and pictures, such as "
                f"{picture.name}; move one kind to a folder of its own"
            )
        return "features"
    picture_files(folder)
    return "pictures"


def _pictures(
    matcher: Matcher,
    folder: Path,
    where: Path,
    detector: str | Path | None,
    device: str,
    backend: str,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Indexed:
    """Make a gallery like a folder of pictures.

    Raises:
        GalleryError: The gallery holds texts, or is of another folder or bundle.
        InputError: No picture can be used.
    """
    files = picture_files(folder)
    if not table_root(str(where)).exists():
        now = states(files)
        made = index(
            matcher.bundle.path,
            pictures=folder,
            detector=detector,
            output=where,
            device=device,
            backend=backend,
            progress=progress,
            tell=tell,
        )
        there = set(Gallery.open(where).ids())
        known = {name: now[name] for name in now if name in there}
        record = Record(str(folder), "pictures", known)
        record.broken = {
            name: (*now[name], why) for name, why in made.broken.items() if name in now
        }
        record.keep(where)
        return Indexed(where, made.items, made.added, 0, made.broken)
    gallery = Gallery.open(where, matcher)
    record = kept_record(gallery, folder, "pictures", states(files))
    done = mirror(
        gallery,
        record,
        files,
        lambda items, left: tell_time(items, range(len(items) - left, len(items)), tell),
        progress,
    )
    if gallery.count() == 0:
        why = next(iter(done.broken.values()), "it is empty")
        raise InputError(f"{folder}: no picture can be used, such as {why}")
    return Indexed(where, gallery.count(), done.added, done.removed, done.broken)


def _features(
    matcher: Matcher,
    folder: Path,
    where: Path,
    kind: Kind,
    split: str,
    device: str,
    backend: str,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Indexed:
    """Make a gallery of a folder of features, anew if a file of it has changed.

    Raises:
        GalleryError: The gallery holds texts, is of another folder or bundle, or would be made anew
            though something else made it.
    """
    given: ToIndex
    if kind == "data":
        given = split_items(matcher, folder, split, "image")
    else:
        given = extracted_items(matcher, folder, None, "image", lambda step, done, total: None)
    state = {given.state(): (0, 0)}
    exists = table_root(str(where)).exists()
    if exists:
        gallery = Gallery.open(where, matcher)
        record = kept_record(gallery, folder, kind, {})
        if not record.files:  # index made it
            _check_same(gallery, given, folder)
            record.files = dict(state)
            record.keep(where)
        if record.files == state:
            return Indexed(where, gallery.count(), 0, 0, {})
        if record.taken:
            raise GalleryError(
                f"{where}: {folder} has changed, and index made this gallery, which may hold more; "
                "index the folder yourself, or give another gallery (--gallery)"
            )
    made = index(
        matcher.bundle.path,
        output=where,
        force=exists,
        device=device,
        backend=backend,
        progress=progress,
        tell=tell,
        **({"data": folder, "split": split} if kind == "data" else {"features": folder}),
    )
    Record(str(folder), kind, dict(state)).keep(where)
    return Indexed(where, made.items, made.added, 0, {})


def _check_same(gallery: Gallery, given: ToIndex, folder: Path) -> None:
    """Refuse a gallery that `index` made of something else.

    Raises:
        GalleryError: Not all items of the folder are in it.
    """
    if not set(given.ids) <= set(gallery.ids()):
        raise GalleryError(
            f"{gallery.path}: holds other items than {folder}; give another gallery (--gallery)"
        )
