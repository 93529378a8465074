"""The libraries that run engines: TensorRT, and TensorRT for RTX."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from itr_deploy.bundle.engines import EngineTarget, engine_directories
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import EngineError, SetupError

MODULES: dict[EngineTarget, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The Python module of a target."""

log = logging.getLogger(__name__)


def import_library(target: EngineTarget) -> Any:
    """The module of a target.

    Raises:
        SetupError: It is not installed.
    """
    try:
        return import_module(MODULES[target])
    except ImportError as error:
        raise SetupError(
            f"{MODULES[target]} is not installed; pip install 'itr-deploy[{target}]'"
        ) from error


def target_of(bundle: Bundle) -> EngineTarget:
    """The target of a bundle's engines; of several the first whose library is installed.

    Raises:
        EngineError: The bundle has no engines.
        SetupError: It has, but no library that runs them is installed.
    """
    built = {
        info.fingerprint.target
        for directory in engine_directories(bundle)
        for info in directory.record.engines.values()
    }
    if not built:
        raise EngineError(
            f"{bundle.path}: has no engines; build them with itr-deploy build-engine {bundle.path}"
        )
    problems = []
    for target in sorted(built):
        try:
            import_library(target)
        except SetupError as error:
            problems.append(error)
        else:
            return target
    raise problems[0]


def make_logger(trt: Any) -> Any:
    """A logger for the library that remembers its last error, in ``last_error``."""

    class Messages(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, msg: str) -> None:
            text = " ".join(msg.split())
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last_error = text
            log.debug("%s: %s", trt.__name__, text)

    return Messages()
