"""Answers as JSON, and what the OpenAPI document says of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from itr_deploy.runtime.explanation import Explanation
from itr_deploy.runtime.hits import Hit, Hits


class Told(BaseModel):
    """An answer; fields that it does not name are not there."""

    model_config = ConfigDict(extra="forbid")


class Failure(Told):
    """Why a request was refused."""

    code: str
    message: str
    hint: str | None
    request_id: str


class Refused(Told):
    """What a refused request is answered with."""

    error: Failure


class Step(Told):
    """A step at which a model attends."""

    step: int
    attends: str


class Word(Told):
    """A word of a query, and how well it is matched, at most 1."""

    text: str
    relevance: float


class Region(Told):
    """A region of an image: x1, y1, x2, y2 in pixels of the upright picture, where known."""

    box: list[float] | None


class Explained(Told):
    """What matched: ``attention`` has the weights ``[words][regions]`` of the step."""

    words: list[Word]
    regions: list[Region]
    picture_size: list[float] | None
    attention: list[list[float]]
    step: int
    attends: str
    steps: list[Step]
    exact: bool
    score: float


class HitTold(Told):
    """A hit."""

    rank: int
    id: str
    score: float
    metadata: dict[str, Any]
    rerank_score: float | None
    matcher_rank: int
    explanation: Explained | None = None


class GalleryTold(Told):
    """The state of the gallery that was searched."""

    version: int
    count: int


class Result(Told):
    """The hits of one query, and its words that the model does not know."""

    hits: list[HitTold]
    unknown_words: list[str]


class ShardsTold(Told):
    """How many shards of the gallery answered, and the names of those that did not."""

    total: int
    answered: int
    failed: list[str]


class Searched(Told):
    """The hits of a search. Of several queries they are in ``results``, in their order."""

    hits: list[HitTold] | None = None
    unknown_words: list[str] | None = None
    results: list[Result] | None = None
    gallery: GalleryTold
    timings_ms: dict[str, float]
    partial: bool
    shards: ShardsTold | None


class Scored(Told):
    """Scores, a row a text and a column an image."""

    scores: list[list[float]]


def json_response(
    value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response of JSON, without what JSON has no number for."""
    try:
        content = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        content = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_plain)
    # Half a character, which metadata may hold, has no bytes.
    body = content.encode("utf-8", "backslashreplace")
    return Response(body, status, headers, media_type="application/json")


def numbers_response(value: Mapping[str, Any]) -> Response:
    """As `json_response`, for numbers in a fifth of its time; not for the user's columns."""
    try:
        body = to_json(value, inf_nan_mode="null")
    except ValueError:  # half a character, in a name
        return json_response(value)
    return Response(body, media_type="application/json")


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit."""
    return {
        "rank": hit.rank,
        "id": hit.id,
        "score": hit.score,
        "metadata": dict(hit.metadata),
        "rerank_score": hit.rerank_score,
        "matcher_rank": hit.matcher_rank,
    }


def shards_json(hits: Hits) -> dict[str, Any]:
    """Whether a shard did not answer, and how many did; null for a gallery that has none."""
    shards = hits.shards
    told = None if shards is None else {**vars(shards), "failed": list(shards.failed)}
    return {"partial": hits.partial, "shards": told}


def hits_json(hits: Hits, k: int) -> list[dict[str, Any]]:
    """The first ``k`` hits."""
    return [hit_json(hit) for hit in hits[:k]]


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """What matched."""
    placed = explanation.placed
    boxes: list[Any] = [None] * explanation.regions if placed is None else _floats(placed.boxes)
    words = zip(explanation.words, _floats(explanation.word_scores), strict=True)
    return {
        "words": [{"text": word, "relevance": score} for word, score in words],
        "regions": [{"box": box} for box in boxes],
        "picture_size": None if placed is None else _floats(placed.picture_size),
        "attention": _floats(explanation.attention),
        "step": explanation.step,
        "attends": explanation.shown.attends,
        "steps": [{"step": one.step, "attends": one.attends} for one in explanation.steps],
        "exact": explanation.exact,
        "score": explanation.score,
    }


def _floats(array: Any) -> Any:
    """An array as lists of numbers of few digits: those of float32."""
    if array.ndim > 1:
        return [_floats(row) for row in array]
    return [float(f"{value:.7g}") for value in array.tolist()]


def _plain(value: Any) -> Any:
    """A value of the user's columns that JSON has no form for."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
