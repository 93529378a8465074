"""Directories that appear whole: built under a temporary name, then renamed into place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from itr_deploy.bundle.files import output_errors
from itr_deploy.errors import OutputError


@contextmanager
def staged_directory(
    output: Path, *, force: bool, replaceable: Callable[[Path], bool], kind: str
) -> Iterator[Path]:
    """Provide a temporary directory that becomes ``output`` when the block succeeds.

    Args:
        output: The directory to make; the temporary one is beside it.
        force: Whether an existing one may be replaced; it stays until the new one is complete.
        replaceable: Says whether an existing directory is one of ours, which ``force`` may replace.
        kind: What it is, for messages.

    Raises:
        OutputError: ``output`` exists and may not be replaced, or the disk refuses.
    """
    output = output.absolute()
    check_output(output, force=force, replaceable=replaceable, kind=kind)
    with output_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        with output_errors(output):
            staging.chmod(0o755)
            yield staging
            _swap(staging, output)
    except OutputError as error:
        # Users know only the output; the staging directory is gone when they read the message.
        raise OutputError(str(error).replace(str(staging), str(output))) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_output(
    output: Path, *, force: bool, replaceable: Callable[[Path], bool], kind: str
) -> None:
    """Refuse an existing output before any work is done.

    Raises:
        OutputError: The output exists and may not be replaced.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not output.is_dir() or not replaceable(output):
        article = "an" if kind[0] in "aeiou" else "a"
        raise OutputError(
            f"{output} exists and is not {article} {kind}, or holds other files; "
            "choose another --output"
        )
    if not force:
        raise OutputError(f"{output} exists; give --force to replace this {kind}")


def _swap(staging: Path, output: Path) -> None:
    """Move ``staging`` to ``output``; an old directory there is removed last."""
    if not output.exists():
        staging.rename(output)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    try:
        output.rename(old / "was")
        try:
            staging.rename(output)
        except BaseException:
            (old / "was").rename(output)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
