"""One writer at a time to a gallery in an object store, over all machines.

The lock is an object that is only ever written on the condition that it is as it was last seen, as
LanceDB's own commits are. Its holder renews it; one that was not renewed for `LASTS` seconds, by
the store's own clock, is of a process that was killed, and may be taken. Who cannot renew it in
time stops before it commits.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from itr_deploy.errors import GalleryBusyError, ItrDeployError
from itr_deploy.runtime.gallery.files import OWN
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import busy
from itr_deploy.runtime.gallery.stores.client import Client, TakenError

log = logging.getLogger(__name__)

LASTS, RENEWED, LOOKED = 60.0, 15.0, 0.5
"""Seconds without renewal until it may be taken, between renewals, between looks of who waits."""

LEASE, CLOCK = f"{TABLE}.lance/{OWN}/writer.lease", f"{TABLE}.lance/{OWN}/clock"


class Lease:
    """The writer's lock while it is held."""

    def __init__(self, client: Client, state: dict[str, Any], token: str, taken: float) -> None:
        """Go on renewing what was taken at a time of the monotonic clock."""
        self._client, self._state, self._token = client, state, token
        self._renewed = taken
        self._count = 0
        self._ended = threading.Event()
        self._lost = False
        self.on_loss: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._keep, name="itr-deploy-lease", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether another one may have it."""
        return self._lost or time.monotonic() - self._renewed > LASTS - RENEWED

    def check(self) -> None:
        """Refuse to go on where it is lost.

        Raises:
            GalleryBusyError: It is.
        """
        if self.is_lost:
            raise lost(self._client.url)

    def release(self) -> None:
        """Let others have it."""
        self._ended.set()
        self._thread.join()
        if self.is_lost:
            return
        try:
            self._client.write(LEASE, _content(None, 0), self._state)
        except (TakenError, ItrDeployError) as error:
            log.warning("%s: its lock ends by itself: %s", self._client.url, error)

    def _keep(self) -> None:
        while not self._ended.wait(RENEWED):
            began = time.monotonic()
            try:
                self._count += 1
                content = _content(self._token, self._count)
                self._state = self._client.write(LEASE, content, self._state)
                self._renewed = began
            except TakenError:
                self._lose()
                return
            except Exception as error:
                log.warning("%s: its lock could not be renewed: %s", self._client.url, error)
                if self.is_lost:
                    self._lose()
                    return

    def _lose(self) -> None:
        self._lost = True
        for stop in list(self.on_loss):
            stop()


def lost(path: str) -> GalleryBusyError:
    """For a writer that could not renew its lock in time."""
    return GalleryBusyError(
        f"{path}: its lock could not be renewed in time, and another writer may have it; nothing "
        "was changed, try again"
    )


@contextmanager
def leased(client: Client, timeout: float) -> Iterator[Lease]:
    """Hold the lock of a gallery over all machines.

    Raises:
        GalleryBusyError: Another process holds it for longer than ``timeout`` seconds.
        GalleryError: The store refuses.
    """
    until, token = time.monotonic() + timeout, uuid4().hex
    while True:
        taken = time.monotonic()
        try:
            state = _taken(client, token)
            break
        except _HeldError as held:
            left = until - time.monotonic()
            if left <= 0:
                raise busy(client.url, str(held), timeout) from None
            time.sleep(min(LOOKED, left))
        except TakenError:
            if time.monotonic() >= until:
                raise busy(client.url, "another process", timeout) from None
    lease = Lease(client, state, token, taken)
    try:
        yield lease
    finally:
        lease.release()


class _HeldError(Exception):
    """Somebody holds it; says who."""


def _taken(client: Client, token: str) -> dict[str, Any]:
    """Take the lock.

    Raises:
        _HeldError: Somebody holds it.
        TakenError: Somebody was quicker.
    """
    there = client.read(LEASE)
    if there is None:
        return client.write(LEASE, _content(token, 0), None)
    holder = _holder(there.bytes)
    if holder is not None:
        age = (client.now(CLOCK) - there.written).total_seconds()
        if age <= LASTS:
            raise _HeldError(holder)
        log.warning("%s: %s left its lock %.0f s ago; it is taken", client.url, holder, age)
    return client.write(LEASE, _content(token, 0), there.state)


def _content(token: str | None, count: int) -> bytes:
    """What the object says, never twice the same: some stores name a state by its content."""
    if token is None:
        return json.dumps({"free": uuid4().hex}).encode()
    about = {"pid": os.getpid(), "host": socket.gethostname(), "token": token, "renewed": count}
    return json.dumps(about).encode()


def _holder(content: bytes) -> str | None:
    """Who holds it, None if nobody does."""
    try:
        said = json.loads(content)
        if "free" in said:
            return None
        return f"process {int(said['pid'])} on {str(said['host'])[:60]}"
    except (ValueError, LookupError, TypeError):
        return "another process"
