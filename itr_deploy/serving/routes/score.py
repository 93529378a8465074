"""`/v1/score` and `/v1/rerank`: scores of pairs that the client chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from itr_deploy.runtime.retriever import Retriever
from itr_deploy.serving.answers import Scored, Told, json_response
from itr_deploy.serving.refusals import invalid
from itr_deploy.serving.requests import RerankAsked, ScoreAsked
from itr_deploy.serving.routes.common import (
    ABSENT,
    REFUSED,
    Serving,
    check_images_gallery,
    check_some,
    while_connected,
)
from itr_deploy.serving.routes.items import check_there

router = APIRouter()


class Relevance(Told):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: dict[str, str] | None = None


class Reranked(Told):
    """Documents, best first."""

    model: str
    results: list[Relevance]


@router.post("/v1/score", response_model=Scored, responses=REFUSED | ABSENT)
async def score(asked: ScoreAsked, request: Request, service: Serving) -> Response:
    """Score texts with images: with the gallery's by their ids, or with others by their regions."""
    most = service.settings.max_texts
    check_some("texts", asked.texts, most)
    retriever = service.retriever
    if "ids" in asked.model_fields_set:
        check_images_gallery(service)
        check_some("ids", asked.ids, most)

        def scores() -> NDArray[np.float32]:
            return _of_ids(service.retriever, asked.texts, asked.ids)
    else:
        check_some("regions", asked.regions, most)
        if retriever.matcher.bundle.manifest.images.pictures:
            raise invalid("this service's model starts from pixels, not regions", "give ids")
        if any(len({len(row) for row in image}) > 1 for image in asked.regions):
            raise invalid("regions has rows of different lengths", "give [image][R][Di]")
        images = [np.array(image, np.float32) for image in asked.regions]

        def scores() -> NDArray[np.float32]:
            return service.retriever.matcher.score(texts=asked.texts, images=images).T

    def compute(some: Sequence[Any]) -> list[NDArray[np.float32]]:
        return [scores()]

    found, _ = await while_connected(request, service.answer(compute, None, size=len(asked.texts)))
    return json_response({"scores": found.tolist()})


@router.post("/v1/rerank", response_model=Reranked, responses=REFUSED | ABSENT)
async def rerank(asked: RerankAsked, request: Request, service: Serving) -> Response:
    """Put items of the gallery in the order of their scores with a text."""
    ids = asked.ids
    check_some("documents", ids, service.settings.max_k)
    check_images_gallery(service)

    def compute(some: Sequence[Any]) -> list[NDArray[np.float32]]:
        return [_of_ids(service.retriever, [asked.query], ids)[0]]

    scores, _ = await while_connected(request, service.answer(compute, None))
    order = np.argsort(-scores, kind="stable")[: asked.top_n].tolist()
    results: list[dict[str, Any]] = [
        {"index": place, "relevance_score": float(scores[place])} for place in order
    ]
    if asked.return_documents:
        for result in results:
            result["document"] = {"id": ids[result["index"]]}
    return json_response({"model": service.name, "results": results})


def _of_ids(retriever: Retriever, texts: Sequence[str], ids: Sequence[str]) -> NDArray[np.float32]:
    """Scores ``float32 [texts, ids]`` as a search gives them; an id may be there twice."""
    check_there(retriever.gallery, list(dict.fromkeys(ids)))
    return retriever.score(texts, ids)
