"""`/v1/search`: queries in, hits out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from itr_deploy.errors import GalleryError, GalleryUnreadableError, InputError
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.retriever import FROM_BUNDLE, Retriever
from itr_deploy.runtime.timing import Stage, timed_stages
from itr_deploy.serving.answers import (
    Searched,
    explanation_json,
    hits_json,
    json_response,
    shards_json,
)
from itr_deploy.serving.refusals import invalid
from itr_deploy.serving.requests import SearchAsked, picture_bytes
from itr_deploy.serving.routes.common import (
    REFUSED,
    Serving,
    check_some,
    while_connected,
)
from itr_deploy.serving.service import Service
from itr_deploy.serving.takes import takes_regions, takes_texts, why_no_picture

router = APIRouter()

MOST_EXPLAINED = 20
"""Hits that a search explains."""

UNKNOWN = 10
"""Most unknown words of a query that are told."""


@dataclass(frozen=True)
class Wanted:
    """A search.

    Attributes:
        texts: Queries; None where an image is one.
        image: A picture's file, or regions ``float32 [R, Di]``.
        k: Hits a query.
        how: The other arguments of `Retriever.search`.
        explain: Whether to tell of every hit what matched.
    """

    texts: tuple[str, ...] | None
    image: Any
    k: int
    how: Mapping[str, Any]
    explain: bool

    @property
    def size(self) -> int:
        """How many queries."""
        return 1 if self.texts is None else len(self.texts)


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        hits: Of every query.
        unknown: Each query's words that the model does not know.
        searched: Version and number of items of the gallery.
        stages: Seconds by stage, of all that was searched in the same call.
        explained: What matched in every hit of the one query, if asked for.
    """

    hits: Sequence[Hits]
    unknown: Sequence[list[str]]
    searched: tuple[int, int]
    stages: Mapping[Stage, float]
    explained: Sequence[dict[str, Any] | None]


@router.post("/v1/search", response_model=Searched, responses=REFUSED)
async def search(asked: SearchAsked, request: Request, service: Serving) -> Response:
    """Search the gallery."""
    begun = perf_counter()
    wanted = _wanted(asked, service)
    computing = service.answer(
        lambda some: _searched(service, some),
        wanted,
        kind=_kind(wanted, service.retriever),
        size=wanted.size,
        arrived=request.state.arrived,
    )
    found, job = await while_connected(request, computing)
    service.note_search()
    service.metrics.staged(found.stages)
    if found.hits[0].partial:
        service.metrics.partial.inc()
    timings = {"queue": job.waited, **found.stages, "total": perf_counter() - begun}
    shown = {name: round(1e3 * seconds, 3) for name, seconds in timings.items()}
    version, count = found.searched
    rest = {
        "gallery": {"version": version, "count": count},
        "timings_ms": shown,
        **shards_json(found.hits[0]),
    }
    results = [
        {"hits": hits_json(hits, wanted.k), "unknown_words": unknown}
        for hits, unknown in zip(found.hits, found.unknown, strict=True)
    ]
    for row, explanation in zip(results[0]["hits"], found.explained, strict=False):
        row["explanation"] = explanation
    told = {"results": results} if "queries" in asked.model_fields_set else results[0]
    timing = ", ".join(f"{name};dur={value}" for name, value in shown.items())
    return json_response({**told, **rest}, headers={"Server-Timing": timing})


def _wanted(asked: SearchAsked, service: Service) -> Wanted:
    """What is asked, checked before it waits.

    Raises:
        GalleryError: The filter is not understood.
        RefusalError: It cannot be done.
    """
    settings, given = service.settings, asked.model_fields_set
    if asked.k > settings.max_k:
        raise invalid(f"k is {asked.k}", f"ask for at most {settings.max_k} hits")
    retriever = service.retriever
    texts: tuple[str, ...] | None = None
    image: Any = None
    if "query" in given or "queries" in given:
        texts = (asked.query,) if "query" in given else tuple(asked.queries)
        check_some("queries", texts, settings.max_texts)
        if not takes_texts(retriever):
            raise invalid("the gallery holds texts", "search it with an image")
    elif "image" in given:
        image = _picture(asked.image, retriever)
    else:
        if not takes_regions(retriever):
            raise invalid("this service takes no regions as a query", "see takes of /v1/models")
        if len({len(row) for row in asked.regions}) > 1:
            raise invalid("regions has rows of different lengths", "give [R][Di]")
        image = np.array(asked.regions, np.float32)
    if asked.explain and (
        texts is None
        or len(texts) != 1
        or asked.k > MOST_EXPLAINED
        or retriever.gallery.modality != "image"
    ):
        raise invalid(
            "explain is for the hits of one text",
            f"give query, and k of at most {MOST_EXPLAINED}; or ask /v1/explain",
        )
    if asked.rerank and not retriever.reranks:
        raise invalid("this service does not re-rank", "see reranks of /v1/models")
    if asked.where is not None:
        retriever.gallery.check_filter(asked.where)
    how: dict[str, Any] = {"where": asked.where, "rerank": asked.rerank}
    how["candidates"] = asked.candidates if "candidates" in given else FROM_BUNDLE
    how["prefilter"] = asked.prefilter if "prefilter" in given else FROM_BUNDLE
    how["refine"] = asked.refine if "refine" in given else FROM_BUNDLE
    return Wanted(texts, image, asked.k, how, asked.explain)


def _picture(image: str, retriever: Retriever) -> bytes:
    """A picture's file.

    Raises:
        RefusalError: It is none, or the bundle takes no pictures.
    """
    if (why := why_no_picture(retriever)) is not None:
        raise invalid(why, "see takes of /v1/models")
    try:
        return picture_bytes(image)
    except ValueError as error:
        raise invalid(str(error), "give the file's bytes in base64") from error


def _kind(wanted: Wanted, retriever: Retriever) -> Hashable | None:
    """What searches of one call have in common; None where a search is a call of its own."""
    texts = retriever.matcher.bundle.manifest.texts
    if wanted.texts is None or wanted.explain or texts.padded_together is not None:
        return None
    # A search for more hits than it has candidates is widened to them.
    return (
        "search",
        wanted.k if wanted.how["rerank"] else _wide(wanted, retriever),
        *wanted.how.values(),
    )


def _wide(wanted: Wanted, retriever: Retriever) -> int:
    narrow = wanted.how["candidates"]
    if narrow is FROM_BUNDLE:
        narrow = retriever.matcher.bundle.manifest.pipeline.width_for("text", wanted.k)
    return 0 if narrow is None else max(narrow, wanted.k)


def _searched(service: Service, wanted: Sequence[Wanted]) -> list[Found]:
    """Search for several requests of one kind in one call."""
    try:
        return _searched_now(service.retriever, wanted)
    except GalleryUnreadableError as unreadable:
        # One that is searched on disk may have been replaced since the last look.
        try:
            changed = service.retriever.refresh()
        except GalleryError:
            raise unreadable from None
        if not changed:
            raise
    return _searched_now(service.retriever, wanted)


def _searched_now(retriever: Retriever, wanted: Sequence[Wanted]) -> list[Found]:
    how = dict(wanted[0].how)
    if wanted[0].texts is None:
        with timed_stages() as times:
            hits = retriever.search(image=wanted[0].image, k=wanted[0].k, **how)
        assert isinstance(hits, Hits)
        assert times.searched is not None
        return [Found([hits], [[]], times.searched, times.seconds, ())]
    texts = [text for one in wanted for text in one.texts or ()]
    with timed_stages() as times:
        found = retriever.search(texts, max(one.k for one in wanted), **how)
    assert times.searched is not None
    unknown = [retriever.matcher.text.unknown_words(text)[:UNKNOWN] for text in texts]
    answers, start = [], 0
    for one in wanted:
        part = slice(start, start := start + one.size)
        explained: list[dict[str, Any] | None] = []
        if one.explain:
            explained = [_explained(retriever, texts[0], hit.id) for hit in found[0][: one.k]]
        answers.append(Found(found[part], unknown[part], times.searched, times.seconds, explained))
    return answers


def _explained(retriever: Retriever, text: str, name: str) -> dict[str, Any] | None:
    try:
        return explanation_json(retriever.explain(text, name))
    except InputError:  # closed gates, for this pair alone; or it was deleted meanwhile
        return None
