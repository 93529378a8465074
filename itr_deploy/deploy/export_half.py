"""The error for work that needs the export half, naming the extra that installs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from itr_deploy.errors import SetupError
from itr_deploy.exporters.garbage import collected_later
from itr_deploy.exporters.importing import quick_imports
from itr_deploy.runtime.backends.importing import switch_telemetry_off
from itr_deploy.runtime.cpus import VARIABLE, default_threads


@contextmanager
def export_half() -> Iterator[None]:
    """Name the extra to install if torch or onnx is missing.

    torch and onnxscript import ONNX Runtime by themselves in places, hence its telemetry is
    switched off first.

    Raises:
        SetupError: A package of the export half is not installed.
    """
    switch_telemetry_off()
    try:
        with collected_later(), quick_imports():
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("itr_deploy"):
            raise
        raise SetupError(
            f"{error.name} is not installed; pip install 'itr-deploy[export,cpu]'"
        ) from error
    _limit_torch()


def _limit_torch() -> None:
    """Make PyTorch keep to the user's number of threads and to a quota; it knows neither."""
    torch = sys.modules.get("torch")
    threads = default_threads()
    if torch is not None and (VARIABLE in os.environ or threads < torch.get_num_threads()):
        torch.set_num_threads(threads)
