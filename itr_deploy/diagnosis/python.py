"""Checks of Python, of itr-deploy itself, and of what only an export needs."""

from __future__ import annotations

import platform
import sys

import itr_deploy
from itr_deploy.diagnosis.checks import Check
from itr_deploy.diagnosis.libraries import installed

LEAST = (3, 10)
EXPORT_HALF = ("torch", "onnx", "onnxscript", "transformers")


def check_itr_deploy() -> Check:
    """The version of this package."""
    return Check("itr-deploy", "ok", itr_deploy.__version__)


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python's version, and what it runs on."""
    number = ".".join(map(str, version))
    found = f"{number} on {platform.system()} {platform.machine()}"
    if version < LEAST:
        least = ".".join(map(str, LEAST))
        return Check("Python", "problem", f"{found} is too old", f"install Python {least} or newer")
    return Check("Python", "ok", found)


def check_export_half() -> Check:
    """The packages that exporting needs and searching does not."""
    versions = {name: installed(name) for name in EXPORT_HALF}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        return Check(
            "export half",
            "info",
            f"{', '.join(absent)} not installed (only needed to export)",
            "to export: pip install 'itr-deploy[export]'",
        )
    return Check("export half", "ok", ", ".join(f"{n} {v}" for n, v in versions.items()))
