"""Failed writes leave a gallery unchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.boundary import gallery_errors
from itr_deploy.runtime.gallery.location import Location

Written = TypeVar("Written")


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


def transaction(
    location: Location, write: Callable[[], Written], feed: Feed | None = None
) -> Written:
    """Make one commit; if it fails, remove the data files it had started.

    LanceDB shows a change only once it is committed, so readers never see part of it. A failed
    change leaves files that no version names. The caller holds the gallery's lock; should there be
    a writer that heeds none, what it has committed is named by a version and stays.

    If the caller is interrupted, LanceDB keeps writing in the background: only when it has finished
    is it known whether the files belong to a version.

    Args:
        location: Where the gallery is.
        write: Makes the commit.
        feed: What ``write`` reads, if it does.
    """
    before = location.written_names()
    stop = (lambda: None) if feed is None else feed.stop
    with ThreadPoolExecutor(1) as pool, location.told_of_loss(stop):
        writing = pool.submit(write)
        try:
            with gallery_errors(location.address):
                return writing.result()
        except BaseException as error:
            if feed is not None:
                feed.stop()
            if writing.exception() is not None:
                location.remove_unnamed(location.written_names() - before)
            if feed is not None and feed.error is not None and isinstance(error, GalleryError):
                raise feed.error from None
            raise
