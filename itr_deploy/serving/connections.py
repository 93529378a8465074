"""Connections of clients that send nothing, or nearly nothing, which would be kept for ever."""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT = 10.0
"""Seconds in which a request's head has to arrive, or what is left of it once it is answered."""

MOST_CONNECTIONS = 1000
"""A further one is closed at once: far more than can wait in the queue."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed when the head of a request does not arrive in time.

    A request may be answered before its body is there: it lacks a key, or is too large. What is
    left of it is read and forgotten, for a while, since a client that still sends reads no answer.
    """

    _waiting: TimerHandle | None = None
    _arrives = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
            return
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A further request begins on the same connection."""
        super().on_message_begin()
        self._arrives = True
        if self._waiting is None:
            self._await()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._arrives = False
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered, and its body may not be there yet."""
        super().on_response_complete()
        if self._arrives and self._waiting is None:
            self._await()

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
