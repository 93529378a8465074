"""The page: every query's hits, with the regions of each word over the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from itr_deploy.errors import InputError
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.explaining.embedding import embedded
from itr_deploy.explaining.shown import ShownQuery, shown_hit, untold_hit
from itr_deploy.rendering import render
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.retriever import Retriever


def page(
    retriever: Retriever,
    queries: Sequence[str],
    found: Sequence[Hits],
    pictures: Pictures,
) -> str:
    """The page of a search's results.

    Args:
        retriever: What found them.
        queries: Texts.
        found: Their hits.
        pictures: The pictures of all hits, in order.
    """
    shown: list[ShownQuery] = []
    uris: dict[str, str | None] = {}
    number = 0
    for text, hits in zip(queries, found, strict=True):
        rows = []
        for hit in hits:
            path = pictures.path(number)
            number += 1
            try:
                explanation = retriever.explain(text, hit.id)
            except InputError as error:  # closed gates, for this pair alone
                rows.append(untold_hit(hit, str(error)))
                continue
            if path is not None and hit.id not in uris:
                uris[hit.id] = embedded(path, explanation.placed)
            rows.append(shown_hit(hit, explanation, has_picture=uris.get(hit.id) is not None))
        shown.append(ShownQuery(text, tuple(rows)))
    there = {name: uri for name, uri in uris.items() if uri is not None}
    return rendered(shown, there, str(retriever.matcher.bundle.path))


def rendered(queries: Sequence[ShownQuery], pictures: Mapping[str, str], bundle: str) -> str:
    """The page as HTML, self-contained and without a script.

    Args:
        queries: The queries and their hits.
        pictures: Data URIs of the hits' pictures, by the hits' ids.
        bundle: The bundle's name.
    """
    return render(
        "itr_deploy.explaining",
        "page.html",
        queries=queries,
        pictures=dict(enumerate(pictures.values())),
        picture_of={name: number for number, name in enumerate(pictures)},
        bundle=bundle,
        most_words=max((len(query.words) for query in queries), default=0),
    )
