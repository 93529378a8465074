"""`search`: a single search of a gallery, from loading to hits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.staging import check_writable
from itr_deploy.deploy.picture_names import check_picture_names
from itr_deploy.errors import GalleryError, InputError, OutputError, UsageError
from itr_deploy.evaluation.data.features import not_an_array
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.pictures.folder import SUFFIXES
from itr_deploy.runtime.retriever import FROM_BUNDLE, Default, Retriever
from itr_deploy.runtime.text.base import check_texts
from itr_deploy.values import FLAG, GALLERY, PATH, TEXT, checked, one_or_each, or_none, whole

log = logging.getLogger(__name__)

SHOWN_WORDS = 10
"""Most unknown words of a query that a warning names."""


@checked(
    bundle=PATH,
    queries=one_or_each(TEXT),
    gallery=GALLERY,
    k=whole(1),
    where=TEXT,
    candidates=or_none(whole(1)),
    prefilter=or_none(whole(1)),
    refine=or_none(whole(1)),
    rerank=FLAG,
    bank=GALLERY,
    gallery_neighbours=PATH,
    bank_neighbours=PATH,
    detector=PATH,
    explain=FLAG,
    pictures=PATH,
    picture_names=TEXT,
    output=PATH,
    force=FLAG,
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
    refine: int | Default | None = FROM_BUNDLE,
    rerank: bool = False,
    bank: str | Path | None = None,
    gallery_neighbours: str | Path | None = None,
    bank_neighbours: str | Path | None = None,
    detector: str | Path | None = None,
    explain: bool = False,
    pictures: str | Path | None = None,
    picture_names: str | None = None,
    output: str | Path | None = None,
    force: bool = False,
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
        refine: Width of the shortlist that the refiner reads; the bundle's by default, and none
            where ``candidates`` is given.
        rerank: Put the best hits in the re-ranker's order; needs ``bank``.
        bank: A gallery of the other modality.
        gallery_neighbours: For ``rerank`` with your own similarity within a modality: an .npz file
            for the gallery's items.
        bank_neighbours: The same for the bank's items.
        detector: The bundle of the region detector that finds the regions of ``image``.
        explain: Also write a page of what matched: of every hit of a text, the regions of the
            picture that each word found, see `Retriever.explain`.
        pictures: Directory of the hits' pictures, for the page, named by the hits' ids, with or
            without the files' ending. Without it, or of hits without boxes, the page has tables.
        picture_names: The gallery's column with the pictures' names, if these are not the ids.
        output: The page to write.
        force: Replace an existing page.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.

    Returns:
        The hits of every query, in the order of the queries.

    Raises:
        BundleError: The bundle is damaged, or cannot explain.
        GalleryError: The gallery is missing, empty or belongs to another bundle.
        InputError: A query cannot be used, or no hit has a picture.
        OutputError: The page exists, or cannot be written.
        UsageError: Both queries and an image were given, or neither; a bank without ``rerank``; or
            ``explain`` without a text or a page, or what belongs to it without it.
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
    page = _page(texts, explain, pictures, picture_names, output, force)
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
    if page is not None:
        page.check(retriever)
    for text in texts:
        if unknown := retriever.matcher.text.unknown_words(text):
            log.warning("the model does not know: %s", ", ".join(unknown[:SHOWN_WORDS]))
    how: dict[str, Any] = {
        "candidates": candidates,
        "prefilter": prefilter,
        "refine": refine,
        "rerank": rerank,
    }
    if image is None:
        hits = retriever.search(texts, k, where, **how)
        if page is not None:
            page.write(retriever, texts, hits)
        return hits
    given = image
    if isinstance(image, (str, Path)) and not _is_picture(Path(image), retriever):
        given = read_regions(image)
    found = retriever.search(image=given, k=k, where=where, **how)
    return found if isinstance(found, list) else [found]


def _is_picture(path: Path, retriever: Retriever) -> bool:
    """Whether a file is a picture and no array of regions.

    One that the model cannot take is refused as a picture by the search, not as an array by its
    reader.
    """
    matcher, suffix = retriever.matcher, path.suffix.lower()
    if matcher.bundle.manifest.images.pictures or suffix in SUFFIXES:
        return True
    return matcher.detector is not None and suffix != ".npy"


@dataclass(frozen=True)
class _Page:
    """The page of what matched, and where its pictures are."""

    output: Path
    pictures: Path | None
    names: str | None

    def check(self, retriever: Retriever) -> None:
        """Refuse, before a search, what cannot be explained.

        Raises:
            BundleError: The bundle cannot explain.
            UsageError: There is no column of the pictures' names.
        """
        retriever.matcher.explainer.graph()
        check_picture_names(retriever.gallery, self.names)

    def write(self, retriever: Retriever, texts: Sequence[str], found: Sequence[Hits]) -> None:
        """Write the page of these hits.

        Raises:
            InputError: No hit has a picture.
            OutputError: The page cannot be written.
        """
        from itr_deploy.evaluation.report.pictures import TYPES, Pictures
        from itr_deploy.explaining.page import page

        names = [
            hit.id if self.names is None else str(hit.metadata[self.names])
            for hits in found
            for hit in hits
        ]
        of = "a hit", "pictures= (--pictures) and picture_names= (--picture-names)"
        # The usual kinds first: of a.heic and a.jpg the latter can be shown.
        endings = [*TYPES, *sorted(SUFFIXES - TYPES.keys())]
        files = Pictures(self.pictures if names else None, names, of, endings)
        missing = {name for number, name in enumerate(names) if files.path(number) is None}
        if self.pictures is not None and missing:
            log.warning(
                "%s: has no picture of %d of %d hits, for example %r; they are shown as tables",
                *(self.pictures, len(missing), len(set(names)), min(missing)),
            )
        write_file(self.output, page(retriever, texts, found, files))


def _page(
    texts: Sequence[str],
    explain: bool,
    pictures: str | Path | None,
    names: str | None,
    output: str | Path | None,
    force: bool,
) -> _Page | None:
    """The page to write, None for none.

    Raises:
        InputError: The pictures' directory is none.
        OutputError: It exists, or nothing can be written there.
        UsageError: What belongs to a page is given without one, or a page without what it needs.
    """
    if not explain:
        if any(given is not None for given in (pictures, names, output)) or force:
            raise UsageError(
                "pictures=, picture_names=, output= and force= are for the page of what matched; "
                "give explain=True (--explain)"
            )
        return None
    if not texts:
        raise UsageError(
            "explain=True (--explain) tells what matched the words of texts; give queries, not "
            "image= (--image)"
        )
    if output is None:
        raise UsageError(
            "explain=True (--explain) writes a page of what matched; give its file, output= "
            "(--output)"
        )
    if names is not None and pictures is None:
        raise UsageError("picture_names= (--picture-names) is for pictures= (--pictures); give it")
    if pictures is not None and not Path(pictures).is_dir():
        what = "a file; give" if Path(pictures).is_file() else "no such directory; give"
        raise InputError(
            f"{pictures}: {what} the directory that the hits' pictures are in, pictures= "
            "(--pictures)"
        )
    place = Path(output)
    if place.is_dir():
        raise OutputError(f"{place} is a directory; give the page a file, output= (--output)")
    if place.exists() and not force:
        raise OutputError(
            f"{place} exists; give force=True (--force) to replace it, or another output (--output)"
        )
    check_writable(place.parent, place)
    return _Page(place, None if pictures is None else Path(pictures), names)


def read_regions(path: str | Path) -> Any:
    """The array of a .npy file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        # Mapped, so that no header can ask for more memory than the file has bytes.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # damaged headers raise the tokenizer's errors and others
        raise InputError(f"{path}: {not_an_array(Path(path), error)}") from error
    if isinstance(found, np.lib.npyio.NpzFile):
        found.close()
        raise InputError(f"{path}: {not_an_array(Path(path), ValueError())}")
    return found
