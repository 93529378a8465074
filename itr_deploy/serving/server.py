"""The server: listens at once, loads meanwhile, and ends without dropping a request."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from itr_deploy.errors import SetupError, UsageError
from itr_deploy.serving.app import application
from itr_deploy.serving.connections import BoundedConnection
from itr_deploy.serving.service import Service

log = logging.getLogger(__name__)

BACKLOG = 2048
"""Connections that the system keeps until they are accepted."""

KEEP_ALIVE = 75
"""Seconds for which an idle connection is kept: longer than load balancers' 60."""


class Server(uvicorn.Server):
    """Ends in two steps: it says that it is not ready, and takes requests a while longer.

    A load balancer learns of a server's end by its readiness, and sends requests until then.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """Wrap a service.

        Attributes:
            exit_code: What the process ends with.
        """
        super().__init__(config)
        self._service = service
        self._stopping = False
        self.exit_code = 0
        service.on_end = self._end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End: after the delay on SIGTERM, as soon as all is answered on Ctrl-C, at once then."""
        if self._stopping:
            self.force_exit = self.should_exit = True
            return
        self._stopping = True
        self._service.drain()
        delay = self._service.settings.drain_delay if sig == signal.SIGTERM else 0.0
        if delay > 0:
            log.info("draining: not ready any more, requests are taken for %g s", delay)
            asyncio.get_running_loop().call_later(delay, self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        self.should_exit = True

    def _end(self, code: int) -> None:
        """End with an exit code, called in any thread."""
        self.exit_code = code
        self.should_exit = True


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SetupError: The address is taken, or not this machine's.
        UsageError: The host is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"host={host!r} (--host) is no address: {error.strerror}") from error
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise SetupError(
            f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}; give "
            "another port (--port), 0 for any that is free, or another host (--host)"
        ) from error
    return made


def address_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds what listens."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}/"


def run(
    service: Service, listening: socket.socket, ready: Callable[[str], object] = lambda url: None
) -> int:
    """Serve until a signal comes or the service cannot go on.

    Args:
        service: What answers.
        listening: Where.
        ready: Called with the address once searches are answered.

    Returns:
        The exit code: 0 after a signal, else of what ended the service.
    """
    config = uvicorn.Config(
        application(service),
        http=BoundedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(service.settings.drain_timeout)),
    )
    server = Server(config, service)
    service.on_ready = lambda: ready(address_of(listening))
    service.start()
    try:
        server.run(sockets=[listening])
    finally:
        service.close()
    return server.exit_code
