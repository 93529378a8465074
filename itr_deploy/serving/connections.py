"""Connections of clients that send nothing, or nearly nothing, which would be kept for ever."""

from __future__ import annotations

import sys
from asyncio import TimerHandle, Transport
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from itr_deploy.serving.failures import failure
from itr_deploy.serving.refusals import unavailable

HEAD_TIMEOUT = 10.0
"""Seconds in which a request's head has to arrive, or what is left of it once it is answered."""

STALLED = 30.0
"""Seconds in which a client has to read something of an answer."""

MOST_HEAD = 65_536
"""Bytes of a head that arrive without its end; the parser itself would take any number."""

WANTED = 1000
"""Connections: far more than can wait in the queue."""


def most_connections(wanted: int = WANTED) -> int:
    """As many as wanted, or half of the files that may be open: the gallery's need room too."""
    if sys.platform == "win32":
        return wanted
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if files == resource.RLIM_INFINITY else min(wanted, files // 2)


MOST_CONNECTIONS = most_connections()
"""Who comes with a further one is told to come back; of a quarter more it is closed at once."""


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request on a connection that is one too many."""
    refusal = unavailable("too_many_connections", f"{MOST_CONNECTIONS} connections are open")
    response = failure(scope, refusal)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)


class WithoutUpgrade:
    """A parser for which an offer of another protocol is none, as RFC 9110 (7.8) allows.

    httptools takes everything behind the head of such a request for the other protocol, and so its
    body too. Java's client offers HTTP/2 with every request.
    """

    def __init__(self, protocol: BoundedConnection) -> None:
        """Parse for a connection."""
        self._protocol = protocol
        self._parser = httptools.HttpRequestParser(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Take what arrives.

        Raises:
            httptools.HttpParserError: It is no HTTP.
        """
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                data = self._head() + data[stopped.args[0] :]
                self._parser = httptools.HttpRequestParser(self._protocol)
            else:
                return

    def _head(self) -> bytes:
        """The head that was read, without the offer."""
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("nothing is connected to here")
        lines = [b"%s %s HTTP/%s" % (method, self._protocol.url, version)]
        given = self._protocol.headers
        lines += [b"%s: %s" % (name, value) for name, value in given if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed when the head of a request does not arrive in time.

    A request may be answered before its body is there: it lacks a key, or is too large. What is
    left of it is read and forgotten, for a while, since a client that still sends reads no answer.
    Who reads no answers is left: they would be kept, and the requests behind them.
    """

    headers: list[tuple[bytes, bytes]]

    _looking: TimerHandle | None = None
    _waiting: TimerHandle | None = None
    _arrives = False
    _in_head = True
    _ends = False
    _head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.parser = WithoutUpgrade(self)  # type: ignore[assignment]
        if len(self.connections) > MOST_CONNECTIONS:
            self.app = crowded
            if len(self.connections) > MOST_CONNECTIONS * 5 // 4:
                transport.close()
                return
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        self._stop_looking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered; look whether it reads at all."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_looking()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what arrives, unless it is a head without an end."""
        self._ends = False
        super().data_received(data)
        # What came with the end of a head or of a body may be nearly all of that request.
        if self._in_head and not self._ends:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """A further request begins on the same connection."""
        super().on_message_begin()
        self._arrives = True
        if self._waiting is None:
            self._await()

    def on_headers_complete(self) -> None:
        """The head is there; one that offers another protocol comes again without the offer."""
        if self.parser.should_upgrade():
            return
        self._in_head, self._ends, self._head_bytes = False, True, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if self.parser.should_upgrade():
            return
        self._arrives, self._in_head, self._ends = False, True, True
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered, and its body may not be there yet."""
        super().on_response_complete()
        if self._arrives and self._waiting is None:
            self._await()

    def _look(self, before: int | None = None) -> None:
        unread = self.transport.get_write_buffer_size()
        if before is not None and unread >= before:
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(STALLED, self._look, unread)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _await(self) -> None:
        self._waiting = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()
