"""Searches with every setting in turn and times each stage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from itr_deploy.benchmarking.figures import milliseconds
from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.report import Milliseconds, SearchFigures
from itr_deploy.runtime.rerank.reranking import reranker_of
from itr_deploy.runtime.retriever import Retriever
from itr_deploy.runtime.timing import STAGES, StageTimes, timed_stages

WARM_UPS = 1
"""Searches with each setting before it is measured: they load the graphs and read the gallery."""
REST, TOTAL = "rest", "total"
"""Names of the time outside all stages and of the whole search's time."""


def search(retriever: Retriever, options: Options, query: Any, width: int | None) -> StageTimes:
    """Time one search; the queries are captions, or regions ``[n, R, Di]``."""
    given = {"query" if options.query == "text" else "image": query}
    with timed_stages() as times:
        retriever.search(**given, **options.searching(width))
    return times


def measured(
    retriever: Retriever, threads: int | None, options: Options, items: RandomItems
) -> list[SearchFigures]:
    """Search with every batch and width, in rounds, so that other load on the machine affects all.

    Every search has new random queries; the time to make them is not measured.
    """
    settings = list(product(options.batches, options.widths))
    for batch, width in settings * WARM_UPS:
        search(retriever, options, items.make(options.query, batch), width)
    found: dict[tuple[int, int | None], list[StageTimes]] = {setting: [] for setting in settings}
    for _ in range(options.rounds):
        for batch, width in settings:
            query = items.make(options.query, batch)
            found[batch, width].append(search(retriever, options, query, width))
    return [
        figures_of(
            times,
            batch=batch,
            candidates=width,
            threads=threads,
            backend=retriever.matcher.backend.description,
            matched=_matched(retriever, options, width),
        )
        for (batch, width), times in found.items()
    ]


def figures_of(
    times: Sequence[StageTimes],
    *,
    batch: int,
    candidates: int | None,
    threads: int | None,
    backend: str,
    matched: int,
) -> SearchFigures:
    """The figures of many searches with one setting.

    Args:
        times: The times of each search.
        batch: Queries per search.
        candidates: Width of the shortlist, None for no shortlist.
        threads: Threads that computed on the CPU, None for one per core.
        backend: What ran the graphs.
        matched: Items that the matcher scored per query.
    """
    stages = [name for name in STAGES if any(name in each.seconds for each in times)]
    figures: dict[str, Milliseconds] = {
        name: milliseconds([each.seconds.get(name, 0) for each in times]) for name in stages
    }
    figures[REST] = milliseconds([each.rest for each in times])
    figures[TOTAL] = milliseconds([each.total for each in times])
    queries = batch * len(times)
    matching = sum(each.seconds["match"] for each in times)
    return SearchFigures(
        batch=batch,
        candidates=candidates,
        threads=threads,
        backend=backend,
        searches=len(times),
        pairs=batch * matched,
        milliseconds=figures,
        queries_per_second=queries / sum(each.total for each in times),
        pairs_per_second=queries * matched / matching,
    )


def _matched(retriever: Retriever, options: Options, width: int | None) -> int:
    """Items that the matcher scores for a query."""
    items = retriever.gallery.count()
    if width is None:
        return items
    again = 0 if options.bank is None else reranker_of(retriever.matcher).depth(options.query)
    return min(items, max(width, options.k, again))
