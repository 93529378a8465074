"""`/admin/reload`: the bundle and the gallery anew, without a stall."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from itr_deploy.serving.answers import GalleryTold, Told, json_response
from itr_deploy.serving.held import searched_by
from itr_deploy.serving.routes.common import Serving, refused

router = APIRouter()


class Reloaded(Told):
    """What is searched from now on, and how long loading took."""

    gallery: GalleryTold
    seconds: float


@router.post(
    "/admin/reload",
    response_model=Reloaded,
    responses=refused(401, 422, 500, 503),
)
async def reload(service: Serving) -> Response:
    """Load the bundle and the gallery anew, warm them, and search them from then on.

    Searches go on meanwhile, over what was there. For that time both are in memory.
    """
    service.held.retriever  # noqa: B018  # refuses while it is being loaded
    seconds = await asyncio.to_thread(service.held.load)
    version, count = searched_by(service.retriever)
    told = {"gallery": {"version": version, "count": count}, "seconds": round(seconds, 3)}
    return json_response(told)
