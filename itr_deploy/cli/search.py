"""``itr-deploy search``: queries in, hits out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.runtime.hits import Hit, Hits
    from itr_deploy.runtime.retriever import Retriever


@click.command("search")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("queries", nargs=-1)
@click.option("--gallery", required=True, type=click.Path(path_type=Path), help="The gallery.")
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Search a gallery of texts with the regions in this .npy file, [R, Di] or [N, R, Di].",
)
@click.option("-k", type=int, default=10, show_default=True, help="Hits a query.")
@click.option("--where", help="SQL over the gallery's columns, for example \"split = 'test'\".")
@click.option("--candidates", type=int, help="Width of the shortlist; the bundle's by default.")
@click.option(
    "--prefilter",
    type=int,
    help="Width of the shortlist that the prefilter cuts down to --candidates; the bundle's by "
    "default.",
)
@click.option("--exhaustive", is_flag=True, help="Score every item, no shortlist.")
@click.option(
    "--bank",
    type=click.Path(path_type=Path),
    help="A gallery of the other modality than --gallery's, for --rerank: texts where images are "
    "searched.",
)
@click.option("--rerank", is_flag=True, help="Put the best hits in the re-ranker's order.")
@click.option(
    "--gallery-neighbours",
    type=click.Path(path_type=Path),
    help="For --rerank with a similarity of your own within a modality: an .npz file with ids, "
    "neighbours and similarities of the gallery's items.",
)
@click.option(
    "--bank-neighbours", type=click.Path(path_type=Path), help="The same of the bank's items."
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="Print the hits as JSON.")
def command(
    bundle: Path,
    queries: tuple[str, ...],
    gallery: Path,
    image: Path | None,
    k: int,
    where: str | None,
    candidates: int | None,
    prefilter: int | None,
    exhaustive: bool,
    bank: Path | None,
    rerank: bool,
    gallery_neighbours: Path | None,
    bank_neighbours: Path | None,
    device: str,
    backend: str,
    as_json: bool,
) -> None:
    """Search a gallery with a BUNDLE: texts over images, or an image over texts."""
    if exhaustive and candidates is not None:
        raise click.UsageError("--exhaustive scores every item, --candidates some; give one")
    if exhaustive and prefilter is not None:
        raise click.UsageError("--exhaustive scores every item, --prefilter fewer; give one")
    if bool(queries) == (image is not None):
        raise click.UsageError("give queries, or --image, one of them")
    from itr_deploy.errors import GalleryError
    from itr_deploy.runtime.retriever import Retriever

    retriever = Retriever.load(
        bundle,
        gallery,
        device=device,
        backend=backend,
        bank=bank,
        gallery_neighbours=gallery_neighbours,
        bank_neighbours=bank_neighbours,
    )
    width: dict[str, Any] = {"rerank": rerank}
    if exhaustive or candidates is not None:
        width["candidates"] = candidates
    if prefilter is not None:
        width["prefilter"] = prefilter
    if retriever.gallery.count() == 0:
        raise GalleryError(f"{gallery}: the gallery is empty; add items with itr-deploy index")
    _warn_of_unknown_words(retriever, queries)
    names = list(queries) or [str(image)]
    if image is None:
        results = retriever.search(list(queries), k, where, **width)
    else:
        found = retriever.search(image=_regions(image), k=k, where=where, **width)
        results = found if isinstance(found, list) else [found]
    if len(results) > len(names):
        names = [f"{image}[{number}]" for number in range(len(results))]
    _show(names, results, retriever.gallery.metadata_columns, as_json, rerank)


def _regions(path: Path) -> Any:
    import numpy as np

    from itr_deploy.errors import InputError

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a NumPy array: {error}") from error


def _warn_of_unknown_words(retriever: Retriever, queries: tuple[str, ...]) -> None:
    for query in queries:
        unknown = retriever.matcher.text.unknown_words(query)
        if unknown:
            words = ", ".join(unknown[:10])
            click.echo(f"warning: the model does not know: {words}", err=True)


def _show(
    names: list[str], results: list[Hits], columns: list[str], as_json: bool, rerank: bool
) -> None:
    if as_json:
        print_json(
            [
                {"query": name, "hits": [_hit_json(hit, rerank) for hit in hits]}
                for name, hits in zip(names, results, strict=True)
            ]
        )
        return
    extra = ("re-ranked", "before") if rerank else ()
    for name, hits in zip(names, results, strict=True):
        rows = (
            [
                *(str(hit.rank), hit.id, f"{hit.score:.4f}"),
                *(_reranked(hit) if rerank else ()),
                *(str(hit.metadata[c]) for c in columns),
            ]
            for hit in hits
        )
        print_table(name, ("rank", "id", "score", *extra, *columns), rows)


def _hit_json(hit: Hit, rerank: bool) -> dict[str, Any]:
    shown = {"rank": hit.rank, "id": hit.id, "score": hit.score}
    if rerank:
        shown |= {"rerank_score": hit.rerank_score, "matcher_rank": hit.matcher_rank}
    return {**shown, "metadata": hit.metadata}


def _reranked(hit: Hit) -> tuple[str, str]:
    """The re-ranker's score and the rank before."""
    score = "" if hit.rerank_score is None else f"{hit.rerank_score:.4f}"
    return score, str(hit.matcher_rank)
