"""A service in this process, asked without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from itr_deploy import Retriever
from itr_deploy.serving.app import application
from itr_deploy.serving.service import Service
from itr_deploy.serving.settings import Settings


@contextmanager
def asked(retriever: Retriever, name: str = "bundle", **settings: Any) -> Iterator[TestClient]:
    """What asks a service of a retriever.

    Args:
        retriever: What searches.
        name: The service's name.
        settings: As for `Settings`.
    """
    service = Service(Settings(**{"refresh": 0.0, **settings}), lambda: retriever, name)
    service.queue.start()
    service.held.load()
    try:
        with TestClient(application(service), raise_server_exceptions=False) as client:
            client.service = service  # type: ignore[attr-defined]
            yield client
    finally:
        service.close()


def refused(response: Any, status: int) -> str:
    """The message and the hint of a refused request; asserts that it has the one form."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "hint", "request_id"}
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" not in response.text
    return f"{error['message']}; {error['hint']}"


def base64_of(path: Path) -> str:
    """A file's content in base64."""
    import base64

    return base64.b64encode(path.read_bytes()).decode()
