"""``itr-deploy search``: queries in, hits out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itr_deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.runtime import Hits, Retriever


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
@click.option("--exhaustive", is_flag=True, help="Score every item, no shortlist.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print the hits as JSON.")
def command(
    bundle: Path,
    queries: tuple[str, ...],
    gallery: Path,
    image: Path | None,
    k: int,
    where: str | None,
    candidates: int | None,
    exhaustive: bool,
    device: str,
    as_json: bool,
) -> None:
    """Search a gallery with a BUNDLE: texts over images, or an image over texts."""
    if exhaustive and candidates is not None:
        raise click.UsageError("--exhaustive scores every item, --candidates some; give one")
    if bool(queries) == (image is not None):
        raise click.UsageError("give queries, or --image, one of them")
    from itr_deploy.errors import GalleryError
    from itr_deploy.runtime import Retriever

    retriever = Retriever.load(bundle, gallery, device=device)
    width: dict[str, Any] = {}
    if exhaustive or candidates is not None:
        width["candidates"] = candidates
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
    _show(names, results, retriever.gallery.metadata_columns, as_json)


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


def _show(names: list[str], results: list[Hits], columns: list[str], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "query": name,
                    "hits": [
                        {"rank": h.rank, "id": h.id, "score": h.score, "metadata": h.metadata}
                        for h in hits
                    ],
                }
                for name, hits in zip(names, results, strict=True)
            ]
        )
        return
    for name, hits in zip(names, results, strict=True):
        rows = (
            [str(hit.rank), hit.id, f"{hit.score:.4f}", *(str(hit.metadata[c]) for c in columns)]
            for hit in hits
        )
        print_table(name, ("rank", "id", "score", *columns), rows)
