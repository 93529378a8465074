"""Bodies of requests: read whole, in bounded time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from itr_deploy.serving.failures import failure
from itr_deploy.serving.middleware import header
from itr_deploy.serving.refusals import RETRY_SOON, RefusalError

TOGETHER = 4
"""Bodies of the largest size whose bytes may be in memory at a time."""

SMALL = 1 << 16
"""Bytes of a body that is not counted: such are bounded by the number of connections."""


class Bodies:
    """Reads a body whole before it is looked at; refuses large ones and those that are slow.

    What large ones hold takes many times their size once it is read as JSON, and is there until
    they are answered; so there is a bound on all of them together.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        """Wrap an application.

        Args:
            app: The application.
            most: Bytes of a body.
            seconds: In which it has to arrive.
        """
        self._app, self._most, self._seconds = app, most, seconds
        self._room = self._most_together = TOGETHER * most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._counted() as take:
            try:
                body = await asyncio.wait_for(self._whole(scope, receive, take), self._seconds)
            except RefusalError as error:
                await failure(scope, error)(scope, receive, send)
                return
            except asyncio.TimeoutError:
                await failure(scope, self._too_slow())(scope, receive, _closing(send))
                return
            if body is not None:
                await self._answer(body, scope, receive, send)

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:  # waits for the client to leave
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """Count a body with the others until it is answered.

        Yields:
            What to call with the bytes that are there of it; it raises `RefusalError` where there
            is no room.
        """
        own = 0

        def take(taken: int) -> None:
            nonlocal own
            more = (taken if taken > SMALL else 0) - own
            if more > self._room:
                raise self._no_room()
            own, self._room = own + more, self._room - more

        try:
            yield take
        finally:
            self._room += own

    async def _whole(
        self, scope: Scope, receive: Receive, take: Callable[[int], None]
    ) -> bytes | None:
        """The body; None if the client has left.

        Raises:
            RefusalError: It is too large, or there are too many large ones.
        """
        told = header(scope, b"content-length")
        if told is not None and told.isdigit() and int(told) > self._most:
            raise self._too_large()
        parts, taken, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            taken += len(parts[-1])
            if taken > self._most:
                raise self._too_large()
            take(taken)
            more = bool(message.get("more_body"))
        return b"".join(parts)

    def _too_large(self) -> RefusalError:
        return RefusalError(
            413,
            "too_large",
            f"the body has more than {self._most} bytes",
            "send fewer texts or a smaller picture",
        )

    def _no_room(self) -> RefusalError:
        return RefusalError(
            429,
            "bodies_full",
            f"requests with {self._most_together} bytes are being answered, the most at a time",
            f"try again in {RETRY_SOON} s, as Retry-After says",
            RETRY_SOON,
        )

    def _too_slow(self) -> RefusalError:
        told = f"the body did not arrive within {self._seconds:g} s"
        return RefusalError(408, "body_too_slow", told)


def _closing(send: Send) -> Send:
    """Close the connection after an answer: what is left of the body is not waited for."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return answer
