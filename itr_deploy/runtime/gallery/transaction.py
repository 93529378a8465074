"""Failed writes leave a gallery unchanged; LanceDB's errors become one clear line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TypeVar

import pyarrow as pa

from itr_deploy.errors import GalleryError, OutputError
from itr_deploy.runtime.forks import check_process

Written = TypeVar("Written")

LANCE_ERRORS = (RuntimeError, ValueError, OSError, pa.ArrowException)
"""What LanceDB raises. Raised by other code, these are defects and keep their traceback."""

FILTER_SIGNS = ("filter expression", "not supported", "not implemented")
"""Marks of filter errors that appear only when the filter runs; earlier ones are ValueErrors."""

DISK_SIGNS = (
    "no space left",
    "file too large",
    "read-only file system",
    "permission denied",
    "disk quota",
)


class Feed:
    """Record batches that LanceDB reads in a thread of its own.

    LanceDB passes on only the text of an error raised in them, so the error is kept here.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._stopped = threading.Event()
        self.error: BaseException | None = None
        self.reader = pa.RecordBatchReader.from_batches(schema, self._read())

    def stop(self) -> None:
        """Make the next batch fail."""
        self._stopped.set()

    def _read(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                if self._stopped.is_set():
                    raise InterruptedError
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def transaction(path: str, write: Callable[[], Written], feed: Feed | None = None) -> Written:
    """Make one commit; if it fails, remove the data files it had started.

    LanceDB shows a change only once it is committed, so readers never see part of it. A failed
    change leaves files that no version refers to. The caller is the only writer.

    If the caller is interrupted, LanceDB keeps writing in the background: only when it has finished
    is it known whether the files belong to a version.
    """
    before = _files(path)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            with gallery_errors(path):
                return writing.result()
        except BaseException as error:
            if feed is not None:
                feed.stop()
            if writing.exception() is not None:
                for file in _files(path) - before:
                    file.unlink(missing_ok=True)
            if feed is not None and feed.error is not None and isinstance(error, GalleryError):
                raise feed.error from None
            raise


@contextmanager
def gallery_errors(path: str | Path, where: str | None = None) -> Iterator[None]:
    """Translate LanceDB's errors; errors that other code raises in the block pass unchanged.

    Args:
        path: The gallery.
        where: The filter that LanceDB is given in the block, if any.

    Raises:
        OutputError: The disk refuses the write.
        GalleryError: Anything else that LanceDB reports; names the filter if it is at fault.
        SetupError: The process is a fork of one that used LanceDB.
    """
    check_process()
    try:
        yield
    except LANCE_ERRORS as error:
        if not _of_lancedb(error):
            raise
        text = " ".join(str(error).split())
        for sign in DISK_SIGNS:
            if sign in text.lower():
                raise OutputError(
                    f"cannot write {path}: {sign}; free space or choose another place, "
                    "the gallery is as it was"
                ) from error
        if where is not None and _of_a_filter(error):
            raise GalleryError(
                f"where={where!r} is not understood: {text[:200]}; write it as SQL over the "
                "gallery's columns, for example \"split = 'test'\""
            ) from error
        raise GalleryError(f"{path}: {text[:300]}") from error


def _of_lancedb(error: BaseException) -> bool:
    modules = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(name.partition(".")[0] in ("lancedb", "lance") for name in modules)


def _of_a_filter(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, ValueError) or any(sign in text for sign in FILTER_SIGNS)


def _files(path: str) -> set[Path]:
    root = Path(path)
    return set() if "://" in path else {file for file in root.rglob("*") if file.is_file()}
