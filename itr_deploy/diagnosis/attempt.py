"""Trying what may crash or hang: a function, called in a fresh interpreter.

A broken GPU library can take the process that loads it down with it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

TIMEOUT = 120.0
"""Seconds; TensorRT takes long to start the first time."""

# The path is the caller's, so that the same packages are found; the last line is the answer, as
# libraries print to standard output too.
CHILD = """
import json, sys
module, name, path, arguments = json.loads(sys.argv[1])
sys.path[:] = path
from importlib import import_module
from itr_deploy.errors import ItrDeployError
try:
    answer = {"answer": getattr(import_module(module), name)(*arguments)}
except ItrDeployError as error:
    answer = {"problem": str(error)}
except Exception as error:
    answer = {"problem": f"{type(error).__name__}: {error}"}
print(f"\\n{json.dumps(answer)}", flush=True)
"""


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What came of a call.

    Attributes:
        answer: What the function returned, None if it did not.
        problem: Why it did not, in one line; None if it did.
        log: What was printed to standard error.
    """

    answer: T | None
    problem: str | None
    log: str = ""


def attempt(
    function: Callable[..., T], *arguments: str | float, timeout: float = TIMEOUT
) -> Attempt[T]:
    """Call a function in a fresh interpreter that finds the same packages.

    Args:
        function: A module's own function; what it returns must be JSON's.
        arguments: Its arguments.
        timeout: Seconds until it is given up and ended.
    """
    call = (function.__module__, function.__name__, sys.path, arguments)
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", CHILD, json.dumps(call)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Attempt(None, f"no answer within {timeout:.0f} s")
    told = _last_object(done.stdout)
    if done.returncode == 0 and "answer" in told:
        return Attempt(told["answer"], None, done.stderr)
    problem = told.get("problem") or _ended(done.returncode)
    return Attempt(None, " ".join(problem.split("\n")[0].split()), done.stderr)


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        content = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _ended(code: int) -> str:
    """How a process ended that gave no answer."""
    if code >= 0:
        return f"the process ended with exit code {code} and without an answer"
    try:
        return f"the process crashed: {signal.Signals(-code).name}"
    except ValueError:
        return f"the process crashed: signal {-code}"
