"""`/v1/models`: what is served and what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response

from itr_deploy.errors import BundleError
from itr_deploy.runtime.search.shards.gallery import ShardStatus
from itr_deploy.serving.answers import Told, json_response
from itr_deploy.serving.held import searched_by
from itr_deploy.serving.routes.common import Serving, refused
from itr_deploy.serving.service import Service
from itr_deploy.serving.takes import takes_regions, takes_texts, why_no_picture

router = APIRouter()


class GalleryAbout(Told):
    """The gallery: its columns are the user's, with their Arrow types."""

    modality: str
    version: int
    count: int
    columns: dict[str, str]
    shards: ShardsAbout | None


class Takes(Told):
    """What may be a query."""

    text: bool
    picture: bool
    regions: bool


class ShardsAbout(Told):
    """The shards of the gallery: how many there are and how many answer, and their replicas."""

    total: int
    living: int
    replicas: int
    living_replicas: int


class LimitsAbout(Told):
    """The most of a request."""

    max_k: int
    max_texts: int
    max_body: int


class Model(Told):
    """A bundle and a gallery."""

    id: str
    object: str
    created: int
    owned_by: str
    family: str
    precision: str
    gallery: GalleryAbout
    takes: Takes
    no_picture_because: str | None
    explains: bool
    no_explanation_because: str | None
    reranks: bool
    prefilter: bool
    refiner: bool
    pictures: bool
    limits: LimitsAbout


class Models(Told):
    """All that is served, which is one."""

    object: str
    data: list[Model]


@router.get(
    "/v1/models",
    response_model=Models,
    responses=refused(401, 500, 503),
)
async def models(service: Serving) -> Response:
    """What is served and what it can do."""
    return json_response({"object": "list", "data": [_told(service)]})


def _told(service: Service) -> dict[str, Any]:
    retriever, settings = service.retriever, service.settings
    manifest, gallery = retriever.matcher.bundle.manifest, retriever.gallery
    version, count = searched_by(retriever)
    no_picture = why_no_picture(retriever)
    takes = {
        "text": takes_texts(retriever),
        "picture": no_picture is None,
        "regions": takes_regions(retriever),
    }
    why_not_explained = None
    try:
        retriever.matcher.explainer.graph()
    except BundleError as error:
        why_not_explained = str(error).replace(str(retriever.matcher.bundle.path), "the bundle")
    if gallery.modality == "text":
        why_not_explained = "the gallery holds texts as the model encoded them, not their words"
    return {
        "id": service.name,
        "object": "model",
        "created": 0,
        "owned_by": "itr-deploy",
        "family": manifest.family,
        "precision": manifest.precision,
        "gallery": {
            "modality": gallery.modality,
            "version": version,
            "count": count,
            "columns": gallery.column_types,
            "shards": None if retriever.shards is None else _shards(retriever.shards),
        },
        "takes": takes,
        "no_picture_because": no_picture,
        "explains": why_not_explained is None,
        "no_explanation_because": why_not_explained,
        "reranks": retriever.reranks,
        "prefilter": retriever.matcher.prefilter is not None,
        "refiner": retriever.matcher.refiner is not None,
        "pictures": service.pictures is not None,
        "limits": {
            "max_k": settings.max_k,
            "max_texts": settings.max_texts,
            "max_body": settings.max_body,
        },
    }


def _shards(shards: Sequence[ShardStatus]) -> dict[str, int]:
    return {
        "total": len(shards),
        "living": sum(shard.living > 0 for shard in shards),
        "replicas": sum(shard.replicas for shard in shards),
        "living_replicas": sum(shard.living for shard in shards),
    }
