"""The cross scores of a gallery and a bank, computed once and stored in the gallery's directory.

A cross score is the matcher's score of a gallery item with a bank item; LeaPRR's paper calls it
phi, and so do the files. ``phi/store.json`` says what the store was made from, ``lists.npy`` and
``list_scores.npy`` hold every item's best bank items, and ``phi.npy`` holds all cross scores
``float32 [items, bank items]`` if they fit. The arrays are mapped from disk. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from itr_deploy.bundle.files import output_errors, sha256_of, write_json
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.record import Record
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.checksums import Verified
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.gallery.recorded import StoredFile
from itr_deploy.runtime.ranking import best
from itr_deploy.runtime.rerank.lists import BankLists, searched_lists
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.searcher import Searcher

FOLDER = "phi"
DESCRIPTION, LISTS, LIST_SCORES = "store.json", "lists.npy", "list_scores.npy"
CROSS_SCORES = "phi.npy"
TILE, BANK_TILE = 64, 1024
"""Gallery items and bank items read and scored at once."""
CHECKED = 1 << 30
"""Bytes of an array up to which it is compared with its checksum at load: a second's work."""

Progress = Callable[[int], None]


class StoreDescription(Record):
    """What a store was made from.

    Attributes:
        gallery: `fingerprint` of the gallery.
        bank: `fingerprint` of the bank.
        depth: Length of the lists.
        candidates: Width of the shortlist that the lists were taken from, None for all items.
        complete: Whether the store has all cross scores.
        files: Size and checksum of its arrays; an older release has written none.
    """

    schema_version: Literal[1] = 1
    gallery: str
    bank: str
    depth: int
    candidates: int | None
    complete: bool
    files: dict[str, StoredFile] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CrossScoreStore:
    """A store that matches a gallery and a bank as they are now.

    Attributes:
        lists: Every item's best bank items.
        cross_scores: ``float32 [items, bank items]``, mapped; None if the store has only the
            lists.
    """

    lists: BankLists
    cross_scores: NDArray[np.float32] | None


def fingerprint(gallery: Gallery, vectors: Vectors) -> str:
    """SHA-256 of what determines a gallery's scores: its encoding, storage, ids and embeddings."""
    about = gallery.description
    digest = hashlib.sha256(f"{about.encoding_id} {about.storage}\0".encode())
    digest.update(json.dumps(vectors.ids.tolist()).encode())
    digest.update(np.ascontiguousarray(vectors.embedding).data)
    return digest.hexdigest()


def has_store(gallery: Gallery) -> bool:
    """Whether a gallery's directory holds a store, whether or not it matches."""
    return (Path(gallery.path) / FOLDER / DESCRIPTION).is_file()


def is_store(path: Path) -> bool:
    """Whether a directory is a store and holds nothing else."""
    own = {DESCRIPTION, LISTS, LIST_SCORES, CROSS_SCORES}
    return (path / DESCRIPTION).is_file() and {entry.name for entry in path.iterdir()} <= own


def open_store(gallery: Searcher, bank: Searcher, depth: int) -> CrossScoreStore:
    """Map the store of a gallery.

    Raises:
        GalleryError: The store is damaged, was made from another state of the gallery or from
            another bank, or its lists are shorter than ``depth``.
    """
    root = Path(gallery.gallery.path) / FOLDER
    remedy = "make it again with itr-deploy index-bank"
    try:
        about = _description(root)
        small = {name: entry for name, entry in about.files.items() if entry.bytes <= CHECKED}
        damage = _damage(root, small)
        if damage:
            raise GalleryError(f"{root}: damaged: {damage}; {remedy}")
        arrays = {name: np.load(root / name, mmap_mode="r") for name in (LISTS, LIST_SCORES)}
        cross_scores = np.load(root / CROSS_SCORES, mmap_mode="r") if about.complete else None
    except (OSError, ValueError, EOFError, ValidationError) as error:
        raise GalleryError(f"{root}: damaged: {str(error).splitlines()[0]}; {remedy}") from error
    for name, searcher in (("gallery", gallery), ("bank", bank)):
        if getattr(about, name) != fingerprint(searcher.gallery, searcher.vectors):
            raise GalleryError(
                f"{root}: made of another state of the {name} {searcher.gallery.path}; {remedy}"
            )
    items, others = len(gallery.vectors.ids), len(bank.vectors.ids)
    shapes = [array.shape for array in arrays.values()]
    expected = [(items, about.depth)] * 2
    if cross_scores is not None:
        shapes.append(cross_scores.shape)
        expected.append((items, others))
    if shapes != expected:
        raise GalleryError(f"{root}: damaged: its arrays have shapes {shapes}; {remedy}")
    if about.depth < depth:
        raise GalleryError(
            f"{root}: its lists hold {about.depth} items, the re-ranker needs {depth}; {remedy}"
        )
    return CrossScoreStore(BankLists(arrays[LISTS], arrays[LIST_SCORES]), cross_scores)


def verify_store(gallery: str) -> Verified | None:
    """Compare the arrays of a gallery's store with their checksums, None if it has no store.

    Raises:
        GalleryError: The store is damaged, or an older release made it, without checksums.
    """
    root = Path(gallery) / FOLDER
    remedy = "make it again with itr-deploy index-bank"
    if not (root / DESCRIPTION).is_file():
        return None
    try:
        about = _description(root)
        damage = _damage(root, about.files)
    except (OSError, ValueError) as error:
        raise GalleryError(f"{root}: damaged: {str(error).splitlines()[0]}; {remedy}") from error
    if not about.files:
        raise GalleryError(f"{root}: cannot be verified: it has no checksums; {remedy}")
    if damage:
        raise GalleryError(f"{root}: damaged: {damage}; {remedy}")
    return Verified(len(about.files), sum(entry.bytes for entry in about.files.values()))


def write_store(
    root: Path,
    gallery: Searcher,
    bank: Searcher,
    scorer: Scorer,
    *,
    depth: int,
    pipeline: Pipeline,
    limit: int,
    progress: Progress = lambda done: None,
) -> StoreDescription:
    """Score a gallery with a bank and write the store into an empty directory.

    Args:
        root: The directory.
        gallery: The items that will be re-ranked.
        bank: The bank, of the other modality.
        scorer: The scorer of the bundle that made both.
        depth: Length of the lists.
        pipeline: Widths of the bank's shortlists, used if not all pairs are scored.
        limit: Bytes that all scores may take; if they would take more, only lists are made.
        progress: Called with the number of gallery items done.
    """
    items, others = len(gallery.vectors.ids), len(bank.vectors.ids)
    complete = 4 * items * others <= limit
    lists = np.empty((items, depth), np.int64)
    scores = np.empty((items, depth), np.float32)
    with output_errors(root):
        cross_scores = None
        if complete:
            cross_scores = np.lib.format.open_memmap(
                root / CROSS_SCORES, mode="w+", dtype=np.float32, shape=(items, others)
            )
        for start in range(0, items, TILE):
            rows = np.arange(start, min(start + TILE, items))
            if cross_scores is not None:
                cross_scores[rows] = _scored(gallery, rows, bank, scorer)
                found = _best_of(cross_scores[rows], bank.vectors.ids, depth)
            else:
                found = searched_lists(gallery, rows, bank, depth, pipeline)
            lists[rows], scores[rows] = found.rows, found.scores
            progress(int(rows[-1]) + 1)
        if cross_scores is not None:
            cross_scores.flush()
        np.save(root / LISTS, lists)
        np.save(root / LIST_SCORES, scores)
    about = StoreDescription(
        gallery=fingerprint(gallery.gallery, gallery.vectors),
        bank=fingerprint(bank.gallery, bank.vectors),
        depth=depth,
        candidates=None if complete else pipeline.width_for(gallery.gallery.modality, depth),
        complete=complete,
        files={
            name: StoredFile(bytes=(root / name).stat().st_size, sha256=sha256_of(root / name))
            for name in (LISTS, LIST_SCORES, *([CROSS_SCORES] if complete else []))
        },
    )
    write_json(root / DESCRIPTION, about.model_dump(mode="json"))
    return about


def _description(root: Path) -> StoreDescription:
    about = StoreDescription.model_validate_json((root / DESCRIPTION).read_bytes())
    unknown = about.files.keys() - {LISTS, LIST_SCORES, CROSS_SCORES}
    if unknown:
        raise ValueError(f"it names {min(unknown)!r:.60}")
    return about


def _damage(root: Path, files: Mapping[str, StoredFile]) -> str:
    """What is wrong with the files, empty if they are as they were written."""
    for name, entry in files.items():
        if (root / name).stat().st_size != entry.bytes or sha256_of(root / name) != entry.sha256:
            return f"{name} is not as it was written"
    return ""


def _scored(
    gallery: Searcher, rows: NDArray[np.int64], bank: Searcher, scorer: Scorer
) -> NDArray[np.float32]:
    """Cross scores ``[rows, bank items]``, with bank items as queries as for pillars."""
    items, others = gallery.encoded(rows), len(bank.vectors.ids)
    scores = np.empty((len(rows), others), np.float32)
    for start in range(0, others, BANK_TILE):
        columns = np.arange(start, min(start + BANK_TILE, others))
        queries = bank.encoded(columns).stored_as("float32")
        scores[:, columns] = scorer.score_all(queries, items).T
    return scores


def _best_of(scores: NDArray[np.float32], ids: NDArray[np.str_], depth: int) -> BankLists:
    ties = np.argsort(np.argsort(ids, kind="stable"))
    found = [best(row, depth, ties) for row in scores]
    return BankLists(np.stack([rows for rows, _ in found]), np.stack([s for _, s in found]))
