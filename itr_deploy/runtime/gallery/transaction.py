"""Failed writes leave a gallery as it was; LanceDB's errors become one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from itr_deploy.errors import GalleryError, ItrDeployError, OutputError

LANCE_ERRORS = (RuntimeError, ValueError, OSError, pa.ArrowException)
"""What LanceDB raises; anything else is a defect and keeps its traceback."""

DISK_SIGNS = ("no space left", "read-only file system", "permission denied", "disk quota")


@contextmanager
def transaction(path: str, table: Any) -> Iterator[None]:
    """Do one commit; if it fails, remove the data files it had begun.

    LanceDB shows a change only once it is committed, so readers never see a part of it. What is
    left of a failed one are files that no version refers to. The caller is the only writer.
    """
    before = _files(path)
    try:
        with gallery_errors(path):
            yield
    except BaseException:
        for file in _files(path) - before:
            file.unlink(missing_ok=True)
        raise


@contextmanager
def gallery_errors(path: str | Path, where: str | None = None) -> Iterator[None]:
    """Translate LanceDB's errors.

    Raises:
        OutputError: The disk refuses.
        GalleryError: Anything else that LanceDB reports.
    """
    try:
        yield
    except LANCE_ERRORS as error:
        original = _our_error(error)
        if original is not None:
            raise original from error
        text = " ".join(str(error).split())
        for sign in DISK_SIGNS:
            if sign in text.lower():
                raise OutputError(
                    f"cannot write {path}: {sign}; free space or choose another place, "
                    "the gallery is as it was"
                ) from error
        if where is not None:
            raise GalleryError(
                f"where={where!r} is not understood: {text[:200]}; write it as SQL over the "
                "gallery's columns, for example \"split = 'test'\""
            ) from error
        raise GalleryError(f"{path}: {text[:300]}") from error


def _our_error(error: BaseException | None) -> ItrDeployError | None:
    """An error of ours that LanceDB met while it read our batches."""
    while error is not None:
        if isinstance(error, ItrDeployError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _files(path: str) -> set[Path]:
    root = Path(path)
    return set() if "://" in path else {file for file in root.rglob("*") if file.is_file()}
