"""Whether the service lives and is ready, and its figures."""

from __future__ import annotations

from fastapi import APIRouter, Response

from itr_deploy.serving.answers import Told, json_response
from itr_deploy.serving.refusals import dead
from itr_deploy.serving.routes.common import Serving, refused

router = APIRouter()


class Health(Told):
    """One word."""

    status: str


@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_model=Health, responses=refused(500, 503))
async def livez(service: Serving) -> Response:
    """Whether the process should live on: it does not without its computing thread."""
    if service.state == "dead":
        raise dead()
    return json_response({"status": "alive"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=Health, responses=refused(500, 503))
async def readyz(service: Serving) -> Response:
    """Whether searches are answered: one was a moment ago, or is now.

    Where they are without the hits of some shards, it is ``degraded``.
    """
    await service.check_ready()
    shards = service.retriever.shards or ()
    whole = all(shard.living for shard in shards)
    return json_response({"status": "ready" if whole else "degraded"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "In Prometheus' text format."},
        **refused(401, 500),
    },
)
async def metrics(service: Serving) -> Response:
    """What the service has counted and timed."""
    service.tell()
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
