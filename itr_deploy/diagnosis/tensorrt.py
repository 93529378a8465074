"""Checks of TensorRT and TensorRT for RTX: imported, as both may be installed and broken."""

from __future__ import annotations

from itr_deploy.diagnosis.checks import Check
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.engines.files import EngineTarget

NAMES: dict[EngineTarget, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}


def check_library(machine: Machine, target: EngineTarget) -> Check:
    """A target's library: its version."""
    tried = machine.library(target)
    if tried is None:
        found = "not installed (only needed to build and run its engines)"
        return Check(NAMES[target], "missing", found, install(target))
    if tried.answer is None:
        mend = f"pip uninstall {target}, then {install(target)}"
        return Check(NAMES[target], "problem", f"does not load: {tried.problem}", mend)
    return Check(NAMES[target], "ok", tried.answer)


def install(target: EngineTarget) -> str:
    """The command that installs a target's library."""
    return f"pip install 'itr-deploy[{target}]'"
