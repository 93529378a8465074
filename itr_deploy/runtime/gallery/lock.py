"""One writer at a time to a gallery, over all threads and processes; readers never wait.

The lock is the operating system's, on a file in the gallery: it ends with the process that holds
it, however that ends.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from itr_deploy.errors import GalleryBusyError, GalleryError, OutputError
from itr_deploy.runtime.gallery.files import OWN, address_of, table_root
from itr_deploy.values import SECONDS

DEFAULT_TIMEOUT = 10.0
"""Seconds that a writer waits for another one."""
EXCHANGE = 1.0
"""Seconds for which a gallery may be away while another one is put in its place."""

LOCK, HOLDER = "writer.lock", "writer.json"


class _Lock:
    """A gallery's lock within this process.

    Attributes:
        threads: Held by the thread that writes, as often as it has asked.
        is_held: Whether that thread has the lock over processes too.
    """

    def __init__(self) -> None:
        self.threads = threading.RLock()
        self.is_held = False

    @property
    def is_held_by_this_thread(self) -> bool:
        """Whether the calling thread has the lock over processes."""
        if not self.threads.acquire(blocking=False):
            return False
        try:
            return self.is_held
        finally:
            self.threads.release()


_locks: dict[str, _Lock] = {}
_locks_lock = threading.Lock()


def _forget_locks() -> None:
    """In a forked child: the threads that held locks are not there to release them."""
    global _locks_lock
    _locks_lock = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def checked_timeout(seconds: object) -> float:
    """The seconds to wait.

    Raises:
        UsageError: They are no number, or negative.
    """
    return float(SECONDS("lock_timeout", seconds))


@contextmanager
def replacing(output: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a gallery that is about to be replaced, if there is one, damaged or not.

    A writer that is at it would go on into the new gallery.

    Raises:
        GalleryBusyError: Another writer is at it for longer than ``timeout`` seconds.
        OutputError: The gallery cannot be written to.
        UsageError: The timeout is no number of seconds.
    """
    seconds, root = checked_timeout(timeout), table_root(address_of(output))
    if not root.is_dir():
        yield
        return
    if lock_of(str(root.resolve())).is_held_by_this_thread:
        raise GalleryBusyError(
            f"{output}: this thread is in the middle of Gallery.writing(), whose lock goes with "
            "the gallery; replace it afterwards"
        )
    with writer_lock(str(output), root, seconds):
        yield


@contextmanager
def writer_lock(path: str, root: Path, timeout: float) -> Iterator[None]:
    """Hold a gallery's lock; a thread that holds it already goes on.

    Args:
        path: The gallery, for messages.
        root: The table's directory.
        timeout: Seconds to wait for another writer.

    Raises:
        GalleryBusyError: Another writer holds it for longer.
        GalleryError: There is no gallery any more.
        OutputError: The gallery cannot be written to.
    """
    until = time.monotonic() + timeout
    own = lock_of(str(root.resolve()))
    if not own.threads.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
        raise busy(path, "another thread of this process", timeout)
    try:
        if own.is_held:
            yield
            return
        lock = _acquired(path, root, timeout, until)
        own.is_held = True
        holder = root / OWN / HOLDER
        try:
            _tell(holder)
            yield
        finally:
            own.is_held = False
            _untell(holder)
            lock.release()
    finally:
        own.threads.release()


def _acquired(path: str, root: Path, timeout: float, until: float) -> FileLock:
    """The lock of the gallery that is at ``root``, which may be exchanged meanwhile."""
    back_by = 0.0
    while True:
        try:
            before = root.stat()
            back_by = time.monotonic() + EXCHANGE
            (root / OWN).mkdir(exist_ok=True)
            lock = FileLock(root / OWN / LOCK, thread_local=False)
            lock.acquire(timeout=min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX))
        except Timeout:
            raise busy(path, _holder(root / OWN / HOLDER), timeout) from None
        except FileNotFoundError as error:
            # The old one is away, and the new one not yet there.
            if time.monotonic() < back_by:
                time.sleep(EXCHANGE / 100)
                continue
            raise GalleryError(
                f"{path}: no such gallery; make one with itr-deploy index"
            ) from error
        except (OSError, NotImplementedError) as error:
            said = getattr(error, "strerror", None) or error
            raise OutputError(f"cannot write {path}: {said}; the gallery is as it was") from error
        try:
            after = root.stat()
        except OSError:
            after = None
        if after is not None and os.path.samestat(before, after):
            return lock
        lock.release()


def busy(path: str, who: str, timeout: float) -> GalleryBusyError:
    """For a gallery that somebody writes to for longer than a writer waited."""
    return GalleryBusyError(
        f"{path}: {who} is writing to it, and was for the {timeout:g} s waited; try again when it "
        "has finished, or wait longer (lock_timeout=, --lock-timeout)"
    )


def _holder(file: Path) -> str:
    """Who holds the lock, as far as they have told."""
    try:
        said = json.loads(file.read_bytes())
        pid, host = int(said["pid"]), str(said["host"])
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
    place = "" if host == socket.gethostname() else f" on {host[:60]}"
    return f"process {pid}{place}"


def _tell(file: Path) -> None:
    # For messages alone; what matters fails by itself on a full disk.
    with suppress(OSError):
        file.write_bytes(_we())


def _untell(file: Path) -> None:
    """Unless another gallery is there meanwhile, and its writer's word."""
    with suppress(OSError):
        if _we().startswith(file.read_bytes()):
            file.unlink()


def _we() -> bytes:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()


def lock_of(key: str) -> _Lock:
    """A gallery's lock, shared by everything in this process that has the gallery open."""
    with _locks_lock:
        return _locks.setdefault(key, _Lock())
