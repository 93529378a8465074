"""The error for work that needs the export half, naming the extra that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from itr_deploy.errors import SetupError


@contextmanager
def export_half() -> Iterator[None]:
    """Name the extra to install if torch or onnx is missing.

    Raises:
        SetupError: A package of the export half is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("itr_deploy"):
            raise
        raise SetupError(
            f"{error.name} is not installed; pip install 'itr-deploy[export,cpu]'"
        ) from error
