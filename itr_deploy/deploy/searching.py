"""`search`: a single search of a gallery, from loading to hits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from itr_deploy.errors import GalleryError, InputError, UsageError
from itr_deploy.evaluation.data.features import not_an_array
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.retriever import FROM_BUNDLE, Default, Retriever
from itr_deploy.runtime.text.base import check_texts
from itr_deploy.values import FLAG, PATH, TEXT, checked, one_or_each, or_none, whole

log = logging.getLogger(__name__)

SHOWN_WORDS = 10
"""Most unknown words of a query that a warning names."""


@checked(
    bundle=PATH,
    queries=one_or_each(TEXT),
    gallery=PATH,
    k=whole(1),
    where=TEXT,
    candidates=or_none(whole(1)),
    prefilter=or_none(whole(1)),
    rerank=FLAG,
    bank=PATH,
    gallery_neighbours=PATH,
    bank_neighbours=PATH,
    detector=PATH,
    device=TEXT,
    backend=TEXT,
)
def search(
    bundle: str | Path,
    queries: str | Sequence[str] = (),
    *,
    gallery: str | Path,
    image: str | Path | ArrayLike | None = None,
    k: int = 10,
    where: str | None = None,
    candidates: int | Default | None = FROM_BUNDLE,
    prefilter: int | Default | None = FROM_BUNDLE,
    rerank: bool = False,
    bank: str | Path | None = None,
    gallery_neighbours: str | Path | None = None,
    bank_neighbours: str | Path | None = None,
    detector: str | Path | None = None,
    device: str = "cpu",
    backend: str = "auto",
) -> list[Hits]:
    """Search a gallery once: with texts over images, or with images over texts.

    Loads the bundle and the gallery for this call only; a program that searches more than once
    should keep a `Retriever`.

    Args:
        bundle: The bundle's directory.
        queries: Texts.
        gallery: The gallery.
        image: Regions ``[R, Di]`` or ``[N, R, Di]`` instead of texts, or a .npy file of them; for a
            model of pixels, or with ``detector``, a picture, see `Retriever.search`.
        k: Hits per query.
        where: SQL over the gallery's columns, for example ``"split = 'test'"``.
        candidates: Width of the shortlist, None for every item; the bundle's by default.
        prefilter: Width of the shortlist that the prefilter reads; the bundle's by default.
        rerank: Put the best hits in the re-ranker's order; needs ``bank``.
        bank: A gallery of the other modality.
        gallery_neighbours: For ``rerank`` with your own similarity within a modality: an .npz file
            for the gallery's items.
        bank_neighbours: The same for the bank's items.
        detector: The bundle of the region detector that finds the regions of ``image``.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.

    Returns:
        The hits of every query, in the order of the queries.

    Raises:
        BundleError: The bundle is damaged.
        GalleryError: The gallery is missing, empty or belongs to another bundle.
        InputError: A query cannot be used.
        UsageError: Both queries and an image were given, or neither; or a bank without ``rerank``.
    """
    texts = [queries] if isinstance(queries, str) else list(queries)
    if bool(texts) == (image is not None):
        raise UsageError("give queries or image= (--image), one of them")
    if not rerank and any(
        given is not None for given in (bank, gallery_neighbours, bank_neighbours)
    ):
        raise UsageError("bank= and the neighbours are for re-ranking; give rerank=True (--rerank)")
    if detector is not None and image is None:
        raise UsageError("detector= (--detector) is for a picture; give image= (--image)")
    check_texts(texts)
    retriever = Retriever.load(
        bundle,
        gallery,
        device=device,
        backend=backend,
        bank=bank,
        gallery_neighbours=gallery_neighbours,
        bank_neighbours=bank_neighbours,
        detector=detector,
    )
    if retriever.gallery.count() == 0:
        raise GalleryError(f"{gallery}: the gallery is empty; add items with itr-deploy index")
    for text in texts:
        if unknown := retriever.matcher.text.unknown_words(text):
            log.warning("the model does not know: %s", ", ".join(unknown[:SHOWN_WORDS]))
    how: dict[str, Any] = {"candidates": candidates, "prefilter": prefilter, "rerank": rerank}
    if image is None:
        return retriever.search(texts, k, where, **how)
    given = image
    if isinstance(image, (str, Path)) and not _is_picture(Path(image), retriever):
        given = read_regions(image)
    found = retriever.search(image=given, k=k, where=where, **how)
    return found if isinstance(found, list) else [found]


def _is_picture(path: Path, retriever: Retriever) -> bool:
    """Whether a file is a picture for this search, and no array of regions."""
    if retriever.matcher.bundle.manifest.images.pictures:
        return True
    return retriever.matcher.detector is not None and path.suffix.lower() != ".npy"


def read_regions(path: str | Path) -> Any:
    """The array of a .npy file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        # Mapped, so that no header can ask for more memory than the file has bytes.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise the tokenizer's errors and others
        raise InputError(f"{path}: {not_an_array(Path(path), error)}") from error
    if isinstance(found, np.lib.npyio.NpzFile):
        found.close()
        raise InputError(f"{path}: {not_an_array(Path(path), ValueError())}")
    return found
