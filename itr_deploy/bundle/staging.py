"""Directories that appear whole: built under a temporary name, then put into their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from itr_deploy.bundle.exchange import exchange
from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.leftovers import (
    Resumption,
    clear_leftovers,
    entries,
    shortened,
    staged,
)
from itr_deploy.errors import ItrDeployError, OutputError


@contextmanager
def staged_directory(
    output: Path,
    *,
    force: bool | None,
    replaceable: Callable[[Path], bool],
    kind: str,
    last: str = "",
    resumption: Resumption | None = None,
) -> Iterator[Path]:
    """Provide a temporary directory that becomes ``output`` when the block succeeds.

    It is made beside ``output``. Where that is not possible, because ``output`` is a mounted
    volume or its parent cannot be written, it is made inside and its content is moved up.

    Args:
        output: The directory to make.
        force: Whether an existing one may be replaced; it stays until the new one is complete. None
            where the caller has no such option.
        replaceable: Says whether an existing directory is one of ours, which ``force`` may replace.
        kind: What it is, for messages.
        last: What makes the directory valid. In a volume it is taken away first and put there
            last, so that a reader never sees half of the content as the whole.
        resumption: Lets the temporary directory be that of a run that was stopped: what it has kept
            lies there already.

    Raises:
        OutputError: ``output`` exists and may not be replaced, or the disk refuses.
    """
    output = _meant(output)
    recover(output)
    check_output(output, force=force, replaceable=replaceable, kind=kind)
    before = _content(output)
    within = _is_filled_in_place(output)
    parent = output if within else output.parent
    with output_errors(output):
        parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(output, parent, resumption)
    staging = output
    try:
        with (
            output_errors(output),
            staged(output, parent, directory=True, resumption=resumption) as staging,
        ):
            staging.chmod(0o755)
            yield staging
            if _content(output) != before:
                # Somebody else was quicker, or put something there.
                check_output(output, force=force, replaceable=replaceable, kind=kind)
            if resumption is not None:
                resumption.forget(staging)
            if within:
                _move_up(staging, output, last)
            else:
                _swap(staging, output)
    except ItrDeployError as error:
        # Users know the output; the staging directory is gone when they read this.
        said = str(error).replace(str(staging), str(output))
        raise (error if said == str(error) else type(error)(said)) from error


def check_output(
    output: Path,
    *,
    force: bool | None,
    replaceable: Callable[[Path], bool],
    kind: str,
    remedy: str = "choose another output (--output)",
) -> None:
    """Refuse, before any work is done, an output that exists or cannot be written.

    Args:
        output: The output.
        force: Whether it may be replaced; None where the caller has no such option.
        replaceable: Whether what is there is of the kind.
        kind: What is to be made.
        remedy: What to do where something else is there.

    Raises:
        OutputError: It exists and may not be replaced, or there is no writing there.
    """
    output = _meant(output)
    with output_errors(output):
        there = output.exists() or output.is_symlink()
        empty = output.is_dir() and not entries(output)
    if there and not empty:
        if not output.is_dir() or not (replaceable(output) or (force and _is_half_moved(output))):
            article = "an" if kind[0] in "aeiou" else "a"
            raise OutputError(
                f"{output} exists and is not {article} {kind}, or holds other files; {remedy}"
            )
        if force is None:
            raise OutputError(f"{output} exists; {remedy}")
        if not force:
            raise OutputError(f"{output} exists; give force=True (--force) to replace this {kind}")
    check_writable(output if _is_filled_in_place(output) else output.parent, output)


def check_writable(directory: Path, output: Path) -> None:
    """Refuse an output whose directory, or the nearest that exists above it, is not writable.

    Raises:
        OutputError: It is read-only, belongs to somebody else, or is not a directory.
    """
    with output_errors(output):
        while not directory.exists():
            directory = directory.parent
        is_directory = directory.is_dir()
    if not is_directory:
        raise OutputError(f"cannot write {output}: {directory} is a file; choose another place")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {output}: {directory} is read-only for this user; choose another place"
        )


def recover(output: Path) -> None:
    """Put back what a run was killed over while it replaced it, where there is no `exchange`."""
    was = _was(output)
    with suppress(OSError):
        if was.exists() and not output.exists():
            was.rename(output)
        elif was.exists():
            shutil.rmtree(was, ignore_errors=True)


def _content(output: Path) -> set[str] | None:
    """Names in a directory, None if there is none."""
    return entries(output) if output.is_dir() else None


def _meant(output: Path) -> Path:
    """Where an output really lies: a link goes on leading there."""
    try:
        return output.resolve() if output.is_symlink() else output.absolute()
    except (OSError, RuntimeError):  # a ring of links
        return output.absolute()


def _is_filled_in_place(output: Path) -> bool:
    """Whether ``output`` is there and cannot be renamed, as a mounted volume cannot."""
    if not output.is_dir():
        return False
    if os.path.ismount(output) or not os.access(output.parent, os.W_OK | os.X_OK):
        return True
    # A directory of the same file system may be mounted too.
    mounted = {part.mountpoint for part in psutil.disk_partitions(all=True)}
    return str(output.resolve()) in mounted


def _is_half_moved(output: Path) -> bool:
    """Whether a run was killed while it moved its content up in a volume."""
    return clear_leftovers(output, output) if _is_filled_in_place(output) else False


def _swap(staging: Path, output: Path) -> None:
    """Put ``staging`` in the place of ``output``; an old one lies in ``staging`` afterwards."""
    if not output.exists():
        staging.rename(output)
    elif not exchange(staging, output):
        was = _was(output)
        output.rename(was)
        try:
            staging.rename(output)
        except BaseException:
            was.rename(output)
            raise
        shutil.rmtree(was, ignore_errors=True)


def _move_up(staging: Path, output: Path, last: str) -> None:
    """Put the content of ``staging`` in the place of that of ``output``, its parent."""
    new, old = entries(staging), entries(output)
    attic = staging / ".old"
    attic.mkdir()
    if last in old and last in new and len(new | old) > 1:
        (output / last).rename(attic / last)
        old -= {last}
    for name in sorted(new | old, key=lambda name: name == last):
        if name not in new:
            (output / name).rename(attic / name)
        elif name not in old:
            (staging / name).rename(output / name)
        elif not exchange(staging / name, output / name):
            (output / name).rename(attic / name)
            (staging / name).rename(output / name)


def _was(output: Path) -> Path:
    return output.parent / f".{shortened(output.name)}.itr-was"
