"""Failed writes leave a gallery as it was; LanceDB's errors become one clear line."""

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

Written = TypeVar("Written")

LANCE_ERRORS = (RuntimeError, ValueError, OSError, pa.ArrowException)
"""What LanceDB raises. Where other code did, it is a defect and keeps its traceback."""

FILTER_SIGNS = ("filter expression", "not supported", "not implemented")
"""What a filter does wrong only when it is run; what is wrong before is a ValueError."""

DISK_SIGNS = (
    "no space left",
    "file too large",
    "read-only file system",
    "permission denied",
    "disk quota",
)


class Feed:
    """Record batches that LanceDB reads in a thread of its own.

    It hands on no more than the text of an error in them, so the error is kept here.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._stopped = threading.Event()
        self.error: BaseException | None = None
        self.reader = pa.RecordBatchReader.from_batches(schema, self._read())

    def stop(self) -> None:
        """Let the next batch fail."""
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
    """Do one commit; if it fails, remove the data files it had begun.

    LanceDB shows a change only once it is committed, so readers never see a part of it. What is
    left of a failed one are files that no version refers to. The caller is the only writer.

    When the caller is interrupted LanceDB goes on behind its back: only when it has come to an
    end is it known whether the files belong to a version.
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
    """Translate LanceDB's errors; what other code raises in the block stays as it is.

    Args:
        path: The gallery.
        where: The filter that LanceDB is given in the block, if it is.

    Raises:
        OutputError: The disk refuses.
        GalleryError: Anything else that LanceDB reports; of the filter where it is at fault.
    """
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
