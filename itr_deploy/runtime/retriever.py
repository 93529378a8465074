"""The retriever: a matcher and a gallery, queries in, hits out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final, overload

import numpy as np
from numpy.typing import ArrayLike

from itr_deploy.bundle.manifest import Modality
from itr_deploy.errors import InputError, UsageError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.inputs import as_array
from itr_deploy.runtime.items import Encoded
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search import DiskSearcher, ResidentSearcher, Searcher


class Default(Enum):
    """Marks an argument that the bundle decides."""

    BUNDLE = "bundle"


FROM_BUNDLE: Final = Default.BUNDLE

DEFAULT_BUDGET = 4 << 30
"""Bytes of gallery tensors that are kept in memory."""


class Retriever:
    """Searches a gallery with a bundle's matcher. Safe to use from several threads."""

    def __init__(
        self,
        matcher: Matcher,
        gallery: Gallery,
        memory_budget: int = DEFAULT_BUDGET,
        resident: bool | None = None,
    ) -> None:
        """Put a retriever together from its parts; `load` is the usual way."""
        gallery.check_bundle(matcher)
        self.matcher = matcher
        self.gallery = gallery
        self._budget = memory_budget
        self._resident = resident
        self._lock = threading.Lock()
        self._searcher: Searcher | None = None
        self._version = -1

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        gallery: str | Path | Gallery,
        device: str = "cpu",
        threads: int | None = None,
        memory_budget: int = DEFAULT_BUDGET,
        resident: bool | None = None,
    ) -> Retriever:
        """Open a bundle and a gallery made with it.

        Args:
            bundle: The bundle's directory.
            gallery: The gallery's path, or an opened one.
            device: ``"cpu"`` or ``"cuda"``.
            threads: Threads that compute on the CPU, None for every core.
            memory_budget: Bytes of gallery tensors to keep in memory.
            resident: True loads the gallery whatever its size, False leaves it on disk, None
                decides by ``memory_budget``. The results are the same.

        Raises:
            BundleError: The bundle is missing or damaged.
            GalleryError: The gallery is missing, or was made with another bundle.
            SetupError: onnxruntime or the device is not there.
        """
        matcher = Matcher.load(bundle, device=device, threads=threads)
        if not isinstance(gallery, Gallery):
            gallery = Gallery.open(gallery, matcher)
        return cls(matcher, gallery, memory_budget, resident)

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
    ) -> Hits: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
    ) -> list[Hits]: ...

    @overload
    def search(
        self,
        *,
        image: ArrayLike,
        k: int = ...,
        where: str | None = ...,
        candidates: int | Default | None = ...,
    ) -> Hits | list[Hits]: ...

    def search(
        self,
        query: str | Sequence[str] | None = None,
        k: int = 10,
        where: str | None = None,
        *,
        image: ArrayLike | None = None,
        candidates: int | Default | None = FROM_BUNDLE,
    ) -> Hits | list[Hits]:
        """Search with texts over images, or with images over texts.

        Args:
            query: A text, or several, for a gallery of images.
            k: Hits a query; fewer come back where the gallery, or the filter, has fewer.
            where: SQL over the gallery's columns that an item must satisfy.
            image: Regions ``[R, Di]`` of an image, or ``[N, R, Di]`` of several, for a gallery
                of texts.
            candidates: Items that the coarse embedding leaves for the matcher, never fewer than
                ``k``; None scores every item. By default the bundle's pipeline decides.

        Returns:
            The hits of one query, or a list of them for several.

        Raises:
            InputError: The query cannot be encoded or is of the gallery's own modality.
            GalleryError: The filter is not understood.
            UsageError: ``k`` or ``candidates`` is not positive, or not exactly one query is given.
        """
        if not _is_positive(k):
            raise UsageError(f"k={k!r} must be a whole number, at least 1")
        if candidates is FROM_BUNDLE:
            modality: Modality = "text" if image is None else "image"
            candidates = self.matcher.bundle.manifest.pipeline.width(modality)
        if candidates is not None and not _is_positive(candidates):
            raise UsageError(
                f"candidates={candidates!r} must be a whole number, at least 1, "
                "or None for all items"
            )
        queries, single = self._encode(query, image)
        found = self._current().search(queries, k, candidates, where) if len(queries) else []
        return found[0] if single else found

    def refresh(self) -> None:
        """Search what other processes have added or removed since the gallery was opened."""
        self.gallery.refresh()

    def warm_up(self) -> None:
        """Load the gallery now rather than with the first search."""
        self._current()

    def _encode(
        self, query: str | Sequence[str] | None, image: ArrayLike | None
    ) -> tuple[Encoded, bool]:
        if (query is None) == (image is None):
            raise UsageError("give either a text query or image=, one of them")
        wanted = "image" if image is not None else "text"
        holds = self.gallery.modality
        if wanted == holds:
            other = "image= with regions" if holds == "text" else "a text"
            raise InputError(f"{self.gallery.path} holds {holds}s; search it with {other}")
        if query is not None:
            single = isinstance(query, str)
            return self.matcher.encode_texts([query] if isinstance(query, str) else query), single
        regions = as_array(image, "regions")
        single = regions.ndim == 2
        return self.matcher.encode_images(regions[None] if single else regions), single

    def _current(self) -> Searcher:
        """A searcher over the gallery's current version."""
        with self._lock:
            if self._searcher is None or self._version != self.gallery.version:
                now = self.gallery.snapshot()
                self._searcher = self._load(now)
                self._version = now.version
            return self._searcher

    def _load(self, gallery: Gallery) -> Searcher:
        resident = self._resident
        if resident is None:
            resident = stored_bytes(gallery) <= self._budget
        if resident:
            return ResidentSearcher(gallery, self.matcher.scorer)
        return DiskSearcher(gallery, self.matcher.scorer, self._budget)


def _is_positive(number: object) -> bool:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    return whole and number >= 1  # type: ignore[operator]
