"""The libraries of the engine targets, TensorRT and TensorRT for RTX: one API, two modules.

Our code uses only what both have, from TensorRT 10.3 to 11.4. Enums are used by name, as their
numbers differ between versions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import SetupError

MODULES: dict[EngineTarget, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The Python module of each target."""
LAYERS = "Layers:\n"
"""Prefix of the message in which a builder lists the layers of the engine it has made."""
REMEMBERED = 100
"""How many warnings and how many errors are kept: a service may run for months."""

_loggers: dict[str, Any] = {}


def installed(target: EngineTarget) -> bool:
    """Whether a target's library is installed; it is not imported."""
    return find_spec(MODULES[target]) is not None


def import_library(target: EngineTarget) -> TensorRT:
    """The module of a target.

    Raises:
        SetupError: The module is not installed, or its libraries do not load.
    """
    name = MODULES[target]
    if not installed(target):
        raise SetupError(f"{name} is not installed; pip install 'itr-deploy[{target}]'")
    try:
        return cast(TensorRT, import_module(name))
    except (ImportError, OSError) as error:
        raise SetupError(
            f"{name} is installed but does not load: {error}; "
            f"pip install --force-reinstall 'itr-deploy[{target}]'"
        ) from error


def default_target() -> EngineTarget:
    """TensorRT if it is installed, else TensorRT for RTX.

    Raises:
        SetupError: Neither is installed.
    """
    for target in MODULES:
        if installed(target):
            return target
    raise SetupError(
        "neither tensorrt nor tensorrt_rtx is installed; pip install 'itr-deploy[tensorrt]', "
        "or 'itr-deploy[tensorrt-rtx]', which builds without a GPU too"
    )


@dataclass
class Heard:
    """A library's last warnings and errors, one line each, and an engine's layers."""

    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    layers: str = ""


def logger(trt: TensorRT) -> Any:
    """The logger of a library. It prints nothing; `hearing` collects its messages.

    There is one for the whole process: TensorRT keeps the first that it is given and ignores later
    ones.
    """
    if trt.__name__ not in _loggers:
        _loggers[trt.__name__] = _make_logger(trt)
    return _loggers[trt.__name__]


@contextmanager
def hearing(trt: TensorRT) -> Iterator[Heard]:
    """Collect a library's messages while the block runs."""
    log = logger(trt)
    before, log.heard = log.heard, Heard()
    try:
        yield log.heard
    finally:
        log.heard = before


def _make_logger(trt: TensorRT) -> Any:
    level = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.heard = Heard()

        def log(self, severity: TensorRT.ILogger.Severity, msg: str) -> None:
            if severity == level.WARNING:
                self.heard.warnings.append(" ".join(msg.split()))
            elif severity in (level.ERROR, level.INTERNAL_ERROR):
                self.heard.errors.append(" ".join(msg.split()))
            elif msg.startswith(LAYERS):
                self.heard.layers = msg

    return Logger()
