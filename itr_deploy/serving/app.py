"""The application: the routes of a service and what is around them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from itr_deploy.serving import page
from itr_deploy.serving.bodies import Bodies
from itr_deploy.serving.document import describe
from itr_deploy.serving.failures import answer_failures
from itr_deploy.serving.middleware import Around, Arriving, Keys, SafeHeaders
from itr_deploy.serving.routes import (
    admin,
    embeddings,
    explain,
    health,
    items,
    models,
    score,
    search,
)
from itr_deploy.serving.service import Service

READ_TIMEOUT = 10.0
"""Seconds in which a request's body has to arrive."""


def application(service: Service) -> FastAPI:
    """The application that answers for a service."""
    settings = service.settings
    app = FastAPI(
        title="itr-deploy",
        version=version("itr-deploy"),
        summary="Fine-grained image-text retrieval",
        # They load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # It would send what it measures to wherever the environment says.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    for room in (search, explain, score, embeddings, models, items, health, page):
        app.include_router(room.router)
    if settings.admin_keys:
        app.include_router(admin.router)
    answer_failures(app)
    describe(app, settings)
    # The last is the outermost.
    app.add_middleware(Arriving, service=service)
    app.add_middleware(Bodies, most=settings.max_body, seconds=READ_TIMEOUT)
    app.add_middleware(Keys, keys=settings.keys, admin_keys=settings.admin_keys)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After", "Server-Timing"],
        )
    app.add_middleware(Around, service=service)
    app.add_middleware(SafeHeaders)
    return app
