"""What the routes share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from itr_deploy.serving.answers import Refused
from itr_deploy.serving.refusals import RefusalError, invalid
from itr_deploy.serving.service import Service

T = TypeVar("T")

RETRY: dict[str, Any] = {
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
}

REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": about}
    | ({"headers": RETRY} if status in (429, 503) else {})
    for status, about in {
        400: "The body is no JSON.",
        401: "No key, or a wrong one.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "The body is not said to be JSON.",
        422: "The request cannot be done; the message says why.",
        429: "Too many requests wait; Retry-After says when to try again.",
        500: "A fault of the service.",
        503: "Loading, draining, dead, or the gallery or a part of it cannot be read.",
        504: "Not answered in time.",
    }.items()
}
"""What a route that computes may answer besides its answer."""


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of `REFUSED`, for a route that may answer no others."""
    return {status: REFUSED[status] for status in statuses}


ABSENT: dict[int | str, dict[str, Any]] = {
    404: {"model": Refused, "description": "There is no such item."}
}


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service


async def _serving(request: Request) -> Service:
    # FastAPI would call a function that is not async in another thread, for every request.
    return service_of(request)


Serving = Annotated[Service, Depends(_serving)]


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, and give it up when the client has left.

    Raises:
        RefusalError: The client has left; nobody reads it.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            service_of(request).metrics.rejected.labels("client_left").inc()
            raise RefusalError(499, "client_left", "the client has left")
        return working.result()
    finally:
        for task in (working, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, RefusalError):
                    await task


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_some(name: str, given: Sequence[Any], most: int) -> None:
    """Refuse more texts, ids or documents than a request may have.

    Raises:
        RefusalError: There are more.
    """
    if len(given) > most:
        raise invalid(f"{name} has {len(given)} entries", f"give at most {most} a request")


def check_images_gallery(service: Service) -> None:
    """Refuse what is for galleries of images alone.

    Raises:
        RefusalError: The gallery holds texts.
    """
    if service.retriever.gallery.modality != "image":
        raise invalid("this service's gallery holds texts", "ask a service of images")
