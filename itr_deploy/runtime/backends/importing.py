"""The one place that imports ONNX Runtime, with its telemetry off.

From 1.31 on, builds for Linux and macOS collect events, names and hashes of models among them, and
send them to Microsoft; the library begins when it is imported. See its ``Privacy.md``.
"""

from __future__ import annotations

import os
from typing import Any

from itr_deploy.errors import SetupError

TELEMETRY = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""ONNX Runtime's variables: 1 switches its telemetry off. The first is what 1.31 reads."""


def telemetry_wanted() -> bool:
    """Whether the user decided on ONNX Runtime's telemetry, and left it on."""
    chosen = [os.environ[name] for name in TELEMETRY if name in os.environ]
    return bool(chosen) and not any(value in ("1", "true", "yes", "on") for value in chosen)


def switch_telemetry_off() -> None:
    """Keep ONNX Runtime from collecting anything, unless the user left it on.

    It reads its variables when it is imported. Processes that this one starts inherit them. Where
    the user set one of them to off, the other follows, as releases differ in which they read.
    """
    if not telemetry_wanted():
        os.environ.update(dict.fromkeys(TELEMETRY, "1"))


def load_onnxruntime() -> Any:
    """The `onnxruntime` module, imported with its telemetry off; raises what the import raises."""
    switch_telemetry_off()
    import onnxruntime

    if not telemetry_wanted() and hasattr(onnxruntime, "disable_telemetry_events"):
        # For a program that had imported it before.
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def import_onnxruntime(device: str = "cpu") -> Any:
    """The `onnxruntime` module, ready for ``"cpu"`` or ``"cuda"``.

    Raises:
        SetupError: Neither onnxruntime nor onnxruntime-gpu is installed, or it does not load.
    """
    install = "pip install 'itr-deploy[cpu]' (or 'itr-deploy[gpu]' on a machine with an NVIDIA GPU)"
    try:
        runtime = load_onnxruntime()
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise SetupError(f"onnxruntime does not load: {error}; {install}") from error
        raise SetupError(f"onnxruntime is not installed; {install}") from error
    except Exception as error:  # a broken library raises anything
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise SetupError(
            f"onnxruntime does not load: {first}; itr-deploy doctor looks at the installation"
        ) from error
    if device == "cuda" and hasattr(runtime, "preload_dlls"):
        # Finds the CUDA libraries that pip installed; the system's loader does not.
        runtime.preload_dlls()
    return runtime
