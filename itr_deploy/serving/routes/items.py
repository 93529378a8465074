"""`/v1/items`: what a gallery holds of an item, and its picture."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from itr_deploy.runtime.retriever import AnyGallery
from itr_deploy.serving.answers import Told, json_response
from itr_deploy.serving.pictures import LEAST_SIDE, MOST_SIDE, SIDE
from itr_deploy.serving.refusals import not_found
from itr_deploy.serving.routes.common import ABSENT, Serving, refused

router = APIRouter()

COMPUTED_ELSEWHERE = refused(401, 422, 500, 503)


class Item(Told):
    """An item; boxes are x1, y1, x2, y2 in pixels of the upright picture."""

    id: str
    metadata: dict[str, Any]
    boxes: list[list[float]] | None
    picture_size: list[float] | None


# Before the item itself, whose id may end in anything.
@router.get(
    "/v1/items/{id:path}/picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "The picture, upright."},
        304: {"description": "As the client has it."},
        **COMPUTED_ELSEWHERE,
        **ABSENT,
    },
)
async def picture(
    id: str,
    request: Request,
    service: Serving,
    size: Annotated[
        int, Query(ge=LEAST_SIDE, le=MOST_SIDE, description="Pixels of the longer side, at most.")
    ] = SIDE,
) -> Response:
    """The picture of an item."""
    pictures, gallery = service.pictures, service.retriever.gallery
    if pictures is None:
        raise not_found("this service shows no pictures", "start it with pictures= (--pictures)")
    # Asked whatever names the pictures: what is not in the gallery is not shown.
    metadata = await asyncio.to_thread(_metadata, gallery, id)
    name = id if pictures.column is None else str(metadata.get(pictures.column))
    shown = await pictures.shown(name, size)
    headers = {"ETag": shown.tag, "Cache-Control": "private, max-age=300"}
    if request.headers.get("if-none-match") == shown.tag:
        return Response(status_code=304, headers=headers)
    return Response(shown.content, headers=headers, media_type="image/jpeg")


@router.get("/v1/items/{id:path}", response_model=Item, responses=COMPUTED_ELSEWHERE | ABSENT)
async def item(id: str, service: Serving) -> Response:
    """What the gallery holds of an item."""
    gallery = service.retriever.gallery
    metadata = await asyncio.to_thread(_metadata, gallery, id)
    boxes = size = None
    if gallery.modality == "image":
        (placed,) = await asyncio.to_thread(gallery.boxes, [id])
        if placed is not None:
            boxes, size = placed.boxes.tolist(), placed.picture_size.tolist()
    return json_response({"id": id, "metadata": metadata, "boxes": boxes, "picture_size": size})


def check_there(gallery: AnyGallery, names: Sequence[str]) -> None:
    """Refuse ids that the gallery does not have.

    Raises:
        RefusalError: It does not have one.
    """
    there = gallery.lookup(names)
    for name in names:
        if name not in there:
            raise not_found(f"the gallery has no item {name!r}")


def _metadata(gallery: AnyGallery, name: str) -> dict[str, Any]:
    """An item's columns.

    Raises:
        RefusalError: There is no such item.
    """
    found = {} if "\0" in name else gallery.lookup([name])
    if name not in found:
        raise not_found(f"the gallery has no item {name!r}")
    return found[name]
