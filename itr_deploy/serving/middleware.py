"""What happens around every request: an id, a log line, figures, keys."""

from __future__ import annotations

import hmac
import logging
import re
import uuid
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from itr_deploy.serving.failures import failure
from itr_deploy.serving.refusals import RefusalError, fault
from itr_deploy.serving.service import Service

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

OPEN = ("/livez", "/readyz", "/openapi.json", "/", "/favicon.ico")
"""What needs no key: the page asks for it, and holds nothing of the gallery."""

QUIET = ("/livez", "/readyz", "/metrics")
"""What is asked all the time, and logged only if it fails."""


class Around:
    """Gives a request its id and its time, and writes a line and figures when it is answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Wrap an application."""
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        given = header(scope, b"x-request-id") or ""
        name = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            log.error("%s failed, request %s: %r", _shown(scope), name, error, exc_info=True)
            if not status:
                await failure(scope, fault())(scope, receive, answer)
        finally:
            self._tell(scope, name, status or 499, perf_counter() - begun)

    def _tell(self, scope: Scope, name: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._service.metrics.requests.labels(route, str(status)).inc()
        self._service.metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if scope["path"] in QUIET and status < 400 else logging.INFO
        if log.isEnabledFor(level):
            client = (scope.get("client") or ("-",))[0]
            fields = {
                "request_id": name,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(1e3 * seconds, 2),
                "client": client,
            }
            line = '%s "%s %s" %d %.1f ms %s'
            told = (client, scope["method"], _shown(scope), status, 1e3 * seconds, name)
            log.log(level, line, *told, extra={"fields": fields})


def _shown(scope: Scope) -> str:
    """A request's path, in one line of the log whatever it holds."""
    return str(scope["path"][:200].encode("unicode_escape").decode())


class Keys:
    """Lets in who has a key, where keys are asked for."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], admin_keys: Sequence[str]) -> None:
        """Wrap an application."""
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._admin = [key.encode() for key in admin_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "http" and not self._may(scope):
            refusal = RefusalError(
                401,
                "unauthorized",
                "the request has no key, or one that is not known here",
                "send it as the header 'Authorization: Bearer KEY'",
            )
            await failure(scope, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        path = scope["path"]
        if path.startswith("/admin/") and self._admin:
            return _has(scope, self._admin)
        if not self._keys or scope["method"] == "OPTIONS":
            return True
        return path in OPEN or path.startswith("/page/") or _has(scope, self._keys)


def _has(scope: Scope, keys: Sequence[bytes]) -> bool:
    given = header(scope, b"authorization") or ""
    scheme, _, key = given.partition(" ")
    if scheme.lower() != "bearer":
        return False
    found = False
    for known in keys:  # all of them, in the same time whatever is given
        found |= hmac.compare_digest(key.strip().encode("utf-8"), known)
    return found


class Arriving:
    """Announces searches to the queue as they begin, so that a call may wait for them."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Wrap an application."""
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != "/v1/search":
            await self._app(scope, receive, send)
            return
        with self._service.queue.arriving() as arrived:
            scope.setdefault("state", {})["arrived"] = arrived
            await self._app(scope, receive, send)


class SafeHeaders:
    """Says to browsers what nothing here needs them to do."""

    CSP = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    HEADERS: tuple[tuple[bytes, bytes], ...] = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", CSP.encode()),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    )

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.HEADERS]
            await send(message)

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


def header(scope: Scope, name: bytes) -> str | None:
    """A header of a request, None if it has none of this name in lower case."""
    headers: list[Any] = scope["headers"]
    for key, value in headers:
        if key == name:
            return bytes(value).decode("latin-1")
    return None
