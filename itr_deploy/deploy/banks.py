"""`index_bank`: what re-ranking a gallery with a bank needs, computed once and stored with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank import reranking
from itr_deploy.runtime.rerank.store import FOLDER, is_store, write_store
from itr_deploy.runtime.retriever import DEFAULT_BUDGET
from itr_deploy.runtime.search.cached import SearcherCache
from itr_deploy.values import FUNCTION, GALLERY, PATH, SECONDS, TEXT, checked, in_no_store, whole


@dataclass(frozen=True)
class IndexedBank:
    """A gallery after it was scored with a bank.

    Attributes:
        gallery: Its directory.
        modality: Modality of its items.
        items: Number of its items.
        bank: The bank's directory or address.
        all_scores_kept: Whether all scores were kept, or only every item's best bank items as all
            scores exceeded the limit.
    """

    gallery: str
    modality: Modality
    items: int
    bank: str
    all_scores_kept: bool

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return dict(vars(self))


@checked(
    bundle=PATH,
    gallery=GALLERY,
    bank=GALLERY,
    limit=whole(0),
    lock_timeout=SECONDS,
    device=TEXT,
    backend=TEXT,
    progress=FUNCTION,
)
def index_bank(
    bundle: str | Path,
    *,
    gallery: str | Path,
    bank: str | Path,
    limit: int = 1 << 30,
    lock_timeout: float = DEFAULT_TIMEOUT,
    device: str = "cpu",
    backend: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> IndexedBank:
    """Score a gallery with a bank, so that re-ranking searches do not have to.

    Every item's best bank items are kept in the gallery's directory and, where they fit, all
    scores. They are valid for the gallery and the bank as they are now: call this again when either
    has changed.

    Args:
        bundle: A bundle with a re-ranker.
        gallery: The gallery, in a local directory.
        bank: A gallery of the other modality.
        limit: Bytes that all scores of gallery and bank may take; if they need more, only every
            item's best bank items are kept, taken from the bundle's shortlist.
        lock_timeout: Seconds to wait for another writer of the gallery to finish.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        progress: Called with the number of items scored so far and the total.

    Raises:
        BundleError: The bundle is damaged, or has no re-ranker.
        GalleryBusyError: Another writer is at the gallery for longer than ``lock_timeout``.
        GalleryError: The gallery is empty, or the bank is missing, of another bundle, of the
            gallery's modality or too small.
        OutputError: Writing fails.
        UsageError: The gallery is in an object store.
    """
    gallery = in_no_store(
        "gallery",
        gallery,
        "the scores are kept in a local gallery's directory; copy the gallery to one, or re-rank "
        "without them",
    )
    matcher = Matcher.load(bundle, device=device, backend=backend)
    opened = Gallery.open(gallery, matcher, lock_timeout=lock_timeout)
    others = _open_bank(matcher, bank, opened.modality)
    folder = Path(opened.path) / FOLDER
    # Under the gallery's lock: the scores are of the items as they are when they appear.
    with (
        opened.writing(),
        staged_directory(
            folder, force=True, replaceable=is_store, kind="store of cross scores"
        ) as root,
    ):
        count = opened.count()
        if count == 0:
            raise GalleryError(
                f"{opened.path}: the gallery is empty; add items with itr-deploy index"
            )
        made = write_store(
            root,
            SearcherCache(opened, matcher, DEFAULT_BUDGET, None).searcher(),
            others.searcher(),
            matcher.scorer,
            depth=reranking.reranker_of(matcher).neighbours + 1,
            pipeline=matcher.bundle.manifest.pipeline,
            limit=limit,
            progress=lambda done: progress(done, count),
        )
    return IndexedBank(opened.path, opened.modality, count, str(bank), made.complete)


def check_bank(bundle: str | Path, bank: str | Path, modality: Modality) -> None:
    """Refuse a bank that a gallery of ``modality`` cannot be re-ranked with.

    Raises:
        BundleError: The bundle is damaged, or has no re-ranker.
        GalleryError: The bank is missing, of another bundle, of this modality or too small.
    """
    _open_bank(Matcher.load(bundle), bank, modality)


def _open_bank(matcher: Matcher, path: str | Path, modality: Modality) -> SearcherCache:
    """Open the bank of a gallery of ``modality``.

    Raises:
        BundleError: The bundle has no re-ranker.
        GalleryError: The bank is missing, of another bundle, of the gallery's modality or too
            small.
    """
    record = reranking.reranker_of(matcher)
    opened = Gallery.open(path, matcher)
    bank = SearcherCache(opened, matcher, DEFAULT_BUDGET, None)
    reranking.check_bank(modality, bank)
    needed = max(record.pillars, record.neighbours + 1)
    if bank.gallery.count() < needed:
        raise GalleryError(
            f"{path}: {bank.gallery.count()} items; a bank for this re-ranker needs at least "
            f"{needed}"
        )
    return bank
