"""Calls functions in a process of their own: a crash or hang there is a one-line error here.

A broken GPU library can crash the process that loads it, and so can some graphs. The processes are
loky's: Python's own pool would run the caller's script again in each of them, unless the script has
an ``if __name__ == "__main__"``, and would not end a process that hangs.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from loky import BrokenProcessPool, ProcessPoolExecutor, TimeoutError

from itr_deploy.errors import ItrDeployError

T = TypeVar("T")

TIMEOUT = 120.0
"""Seconds; TensorRT is slow to start the first time."""


class IsolationError(Exception):
    """A call gave no answer; the message says why, in one line."""


class IsolatedProcess:
    """A fresh interpreter that finds the same packages; it ends with this object's ``with`` block.

    It runs one call at a time, and module state persists between calls. What it prints goes to
    standard error. It also ends when this process does, for whatever reason.
    """

    def __init__(self) -> None:
        """Set up the process; it starts with the first call."""
        environment = {
            # The new process must find loky before loky passes on this process's search path.
            "PYTHONPATH": os.pathsep.join(sys.path),
            # loky would restart a process that grows by 300 MB, as one with a large graph does.
            "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
            # By default, loky makes a crash print a traceback.
            "PYTHONFAULTHANDLER": os.environ.get("PYTHONFAULTHANDLER", ""),
        }
        # Nothing is sent: the pipe closes when this process ends.
        theirs, self._alive = Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            max_workers=1, initializer=_begin, initargs=(theirs,), env=environment
        )

    def __enter__(self) -> IsolatedProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(kill_workers=True)

    def call(self, function: Callable[..., T], *arguments: Any, timeout: float | None = None) -> T:
        """Call a function in the process.

        Args:
            function: A module-level function.
            arguments: Its arguments; they and the result must be picklable.
            timeout: Seconds until the call is abandoned and the process ended.

        Raises:
            IsolationError: The function raised any other error, or the process crashed, exited or
                did not answer in time.
            ItrDeployError: The function raised it.
        """
        try:
            answer, error = self._pool.submit(_answer, function, arguments).result(timeout)
        except TimeoutError:
            self._pool.shutdown(kill_workers=True)
            raise IsolationError(f"no answer within {timeout:.0f} s") from None
        except BrokenProcessPool as broken:
            raise IsolationError(_ended(str(broken))) from None
        except Exception as failed:
            # The system gives no process, or something cannot be pickled.
            raise IsolationError(_one_line(failed)) from failed
        if error is not None:
            raise error
        result: T = answer
        return result


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The outcome of a call.

    Attributes:
        answer: What the function returned; None if it failed.
        problem: Why it failed, in one line; None if it returned.
        log: What it and its libraries printed to standard error; empty if it failed.
    """

    answer: T | None
    problem: str | None
    log: str = ""


def isolated(function: Callable[..., T], *arguments: Any, timeout: float = TIMEOUT) -> Outcome[T]:
    """Call a function in a process started for this call alone. Nothing is printed.

    Args:
        function: A module-level function.
        arguments: Its arguments; they and the result must be picklable.
        timeout: Seconds until the call is abandoned and the process ended.
    """
    try:
        with IsolatedProcess() as process:
            answer, log = process.call(_logged, function, arguments, timeout=timeout)
    except (IsolationError, ItrDeployError) as error:
        return Outcome(None, " ".join(str(error).split()))
    return Outcome(answer, None, log)


def _begin(parent: Connection) -> None:
    """Prepare the process for its calls."""
    # Ctrl-C interrupts the parent, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # What libraries print must not become output of the parent.
    os.dup2(2, 1)


def _end_with(parent: Connection) -> None:
    with suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)


def _answer(
    function: Callable[..., T], arguments: tuple[Any, ...]
) -> tuple[T | None, Exception | None]:
    try:
        return function(*arguments), None
    except ItrDeployError as error:
        return None, error
    except BaseException as error:
        # Its class may belong to a library that the parent must not load.
        return None, IsolationError(_one_line(error))


def _one_line(error: BaseException) -> str:
    first = f"{type(error).__name__}: {error}".split("\n")[0]
    return " ".join(first.split())


def _logged(function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T, str]:
    """A function's result and what it printed to standard error; for a process that then ends."""
    with _log_file() as log, Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(log.fileno(), 2)
        answer = function(*arguments)
        sys.stderr.flush()
        log.seek(0)
        return answer, log.read().decode(errors="replace")


def _log_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:
        # There may be no writable directory; what is printed is then lost.
        return Path(os.devnull).open("w+b")


def _ended(message: str) -> str:
    """How a process that gave no answer ended, from loky's error: ``... {SIGABRT(-6)} ...``."""
    found = re.search(r"\{(\w+)\((-?\d+)\)\}", message)
    if found is None:
        return "the process crashed"
    name, code = found[1], int(found[2])
    if code >= 0:
        return f"the process ended with exit code {code} and without an answer"
    return f"the process crashed: {name if name != 'UNKNOWN' else f'signal {-code}'}"
