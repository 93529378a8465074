"""phi of a gallery and a bank, computed when indexing and kept with the gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import GalleryError, OutputError
from itr_deploy.runtime import Gallery, Matcher
from itr_deploy.runtime.rerank.reranking import check_bank, reranker_of
from itr_deploy.runtime.rerank.store import FOLDER, StoreDescription, is_store, write_store
from itr_deploy.runtime.retriever import DEFAULT_BUDGET
from itr_deploy.runtime.search.cached import LoadedGallery


def open_bank(matcher: Matcher, path: Path, modality: str) -> LoadedGallery:
    """The bank of a gallery of ``modality``.

    Raises:
        BundleError: The bundle has no re-ranker.
        GalleryError: The bank is missing, of another bundle, of the gallery's modality or too
            small.
    """
    record = reranker_of(matcher)
    opened = Gallery.open(path, matcher)
    bank = LoadedGallery(opened, matcher, DEFAULT_BUDGET, None)
    check_bank("image" if modality == "image" else "text", bank)
    needed = max(record.pillars, record.neighbours + 1)
    if bank.gallery.count() < needed:
        raise GalleryError(
            f"{path}: {bank.gallery.count()} items; a bank for this re-ranker needs at least "
            f"{needed}"
        )
    return bank


def store_phi(
    matcher: Matcher,
    gallery: Gallery,
    bank: LoadedGallery,
    *,
    phi_limit: int,
    progress: Callable[[int], None],
) -> StoreDescription:
    """Score a gallery with a bank; the store appears in the gallery's directory when complete.

    Raises:
        GalleryError: The gallery is empty.
        OutputError: The disk refuses, or the gallery is no local directory.
    """
    if "://" in gallery.path:
        raise OutputError(
            f"{gallery.path}: phi can only be kept with a gallery in a local directory"
        )
    loaded = LoadedGallery(gallery, matcher, DEFAULT_BUDGET, None)
    if gallery.count() == 0:
        raise GalleryError(f"{gallery.path}: the gallery is empty; add items with --data")
    folder = Path(gallery.path) / FOLDER
    with staged_directory(folder, force=True, replaceable=is_store, kind="phi store") as root:
        return write_store(
            root,
            loaded.searcher(),
            bank.searcher(),
            matcher.scorer,
            depth=reranker_of(matcher).neighbours + 1,
            pipeline=matcher.bundle.manifest.pipeline,
            phi_limit=phi_limit,
            progress=progress,
        )
