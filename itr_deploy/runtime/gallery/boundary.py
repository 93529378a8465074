"""The one boundary around LanceDB: whatever it raises becomes one clear line of this package's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import pyarrow as pa

from itr_deploy.errors import (
    GalleryError,
    GalleryUnreadableError,
    ItrDeployError,
    OutputError,
)
from itr_deploy.runtime.forks import check_process
from itr_deploy.runtime.gallery.layout import (
    BOXES,
    EMBEDDING,
    ID,
    LENGTH,
    PICTURE_SIZE,
    TENSOR_PREFIX,
)

FILTER_SIGNS = ("filter expression", "not supported", "not implemented")
"""Marks of filter errors that appear only when the filter runs; earlier ones are ValueErrors."""

DISK_SIGNS = (
    "no space left",
    "file too large",
    "read-only file system",
    "permission denied",
    "disk quota",
)


STORE_SIGNS = ("Generic {", "Generic S3", "Generic GCS", "PermissionDenied", "Unauthenticated")
"""Marks of errors of an object store, whose text is long and may repeat what is secret."""


@contextmanager
def gallery_errors(
    path: str | Path,
    where: str | None = None,
    diagnose: Callable[[], GalleryError | None] = lambda: None,
) -> Iterator[None]:
    """Translate LanceDB's errors and Arrow's; what other code raises in the block passes unchanged.

    Args:
        path: The gallery.
        where: The filter that LanceDB is given in the block, if any.
        diagnose: Finds what is wrong with the gallery, if anything, after an error.

    Raises:
        OutputError: The disk refuses the write.
        GalleryError: The filter, which it names, is at fault.
        GalleryUnreadableError: Anything else that LanceDB reports.
        SetupError: The process is a fork of one that used LanceDB.
    """
    check_process()
    try:
        yield
    except ItrDeployError:
        raise
    except BaseException as error:
        if not _of_lancedb(error):
            raise
        raise _translated(path, where, diagnose, error) from error


def _translated(
    path: str | Path,
    where: str | None,
    diagnose: Callable[[], GalleryError | None],
    error: BaseException,
) -> ItrDeployError:
    text = " ".join(str(error).split()) or type(error).__name__
    in_a_store = "://" in str(path)
    for sign in DISK_SIGNS:
        if not in_a_store and sign in text.lower():
            return OutputError(
                f"cannot write {path}: {sign}; free space or choose another place, "
                "the gallery is as it was"
            )
    found = diagnose()
    if found is not None:
        return found
    if in_a_store and any(sign in text for sign in STORE_SIGNS):
        from itr_deploy.runtime.gallery.stores.refusals import store_error

        return store_error(str(path), error)
    if where is not None and _of_a_filter(error):
        return GalleryError(
            f"where={where!r} is not understood: {text[:200]}; write it as SQL over the "
            "gallery's columns, for example \"split = 'test'\""
        )
    return GalleryUnreadableError(f"{path}: {text[:300]}")


def replaced_error(path: str | Path) -> GalleryUnreadableError:
    """For a gallery whose place another one has taken, or whose version was cleaned up."""
    return GalleryUnreadableError(
        f"{path}: was replaced by another gallery, or its version cleaned up, since it was "
        "opened; call refresh() or open it again"
    )


def check_sound(path: str | Path, answer: object) -> None:
    """Refuse what LanceDB has read, if it is not what can have been written.

    Raises:
        GalleryUnreadableError: A text is no UTF-8, offsets lie outside, or a value is missing that
            every item has.
    """
    if not isinstance(answer, (pa.Table, pa.RecordBatch)):
        return
    try:
        answer.validate(full=True)
    except pa.ArrowException as error:
        raise damaged(path, f"it cannot be decoded: {str(error).splitlines()[0][:120]}") from error
    for name in answer.schema.names:
        own = name in (ID, EMBEDDING, LENGTH) or name.startswith(TENSOR_PREFIX)
        needed = own and name not in (BOXES, PICTURE_SIZE)
        if needed and answer[name].null_count:
            raise damaged(path, f"items without {name!r}")


def damaged(path: str | Path, what: str) -> GalleryUnreadableError:
    """For a gallery whose stored items are not what was written."""
    return GalleryUnreadableError(
        f"{path}: damaged: {what}; restore it from a copy or make it again with "
        "index(force=True) (itr-deploy index --force)"
    )


def _of_lancedb(error: BaseException) -> bool:
    if type(error).__name__ == "PanicException":
        # A panic in Rust, no Exception to Python.
        return True
    if not isinstance(error, Exception):
        return False
    modules = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(name.partition(".")[0] in ("lancedb", "lance", "pyarrow") for name in modules)


def _of_a_filter(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, ValueError) or any(sign in text for sign in FILTER_SIGNS)
