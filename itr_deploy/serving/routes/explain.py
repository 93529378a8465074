"""`/v1/explain`: what matched between a text and an image of the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from itr_deploy.serving.answers import Explained, explanation_json, json_response
from itr_deploy.serving.requests import ExplainAsked
from itr_deploy.serving.routes.common import (
    ABSENT,
    REFUSED,
    Serving,
    check_images_gallery,
    while_connected,
)
from itr_deploy.serving.routes.items import check_there

router = APIRouter()


@router.post("/v1/explain", response_model=Explained, responses=REFUSED | ABSENT)
async def explain(asked: ExplainAsked, request: Request, service: Serving) -> Response:
    """Tell which words and which regions found each other."""
    check_images_gallery(service)

    def compute(some: Sequence[Any]) -> list[dict[str, Any]]:
        check_there(service.retriever.gallery, [asked.id])
        told = service.retriever.explain(
            asked.query, asked.id, step=asked.step, attends=asked.attends
        )
        return [explanation_json(told)]

    told, _ = await while_connected(request, service.answer(compute, None))
    return json_response(told)
