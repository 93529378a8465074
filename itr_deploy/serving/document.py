"""The OpenAPI document, with what only a service knows: its limits, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from itr_deploy.serving.middleware import OPEN
from itr_deploy.serving.settings import Settings

KEY, ADMIN_KEY = "key", "admin_key"
"""Names of the security schemes."""


def describe(app: FastAPI, settings: Settings) -> None:
    """Make an application tell its limits and keys in its document."""
    written: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = written()
            _tell_limits(document["components"]["schemas"], settings)
            _tell_keys(document, settings)
        return written()

    app.openapi = openapi  # type: ignore[method-assign]


def _tell_limits(schemas: dict[str, Any], settings: Settings) -> None:
    search, score = schemas["SearchAsked"]["properties"], schemas["ScoreAsked"]["properties"]
    search["k"]["maximum"] = settings.max_k
    search["queries"]["maxItems"] = settings.max_texts
    for name in ("texts", "ids", "regions"):
        score[name]["maxItems"] = settings.max_texts
    schemas["RerankAsked"]["properties"]["documents"]["maxItems"] = settings.max_k
    for form in schemas["EmbeddingsAsked"]["properties"]["input"]["anyOf"]:
        if form["type"] == "array":
            form["maxItems"] = settings.max_texts


def _tell_keys(document: dict[str, Any], settings: Settings) -> None:
    schemes = {}
    if settings.keys:
        schemes[KEY] = {"type": "http", "scheme": "bearer"}
    if settings.admin_keys:
        schemes[ADMIN_KEY] = {"type": "http", "scheme": "bearer"}
    if schemes:
        document["components"]["securitySchemes"] = schemes
    for path, methods in document["paths"].items():
        name = ADMIN_KEY if path.startswith("/admin/") else KEY
        if name in schemes and path not in OPEN:
            for operation in methods.values():
                operation["security"] = [{name: []}]
