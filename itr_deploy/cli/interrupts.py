"""Ctrl-C and SIGTERM: an interrupted run ends with 130, wherever the signal arrived.

The handler of a signal runs between any two Python instructions and raises `KeyboardInterrupt`
there. In a finaliser, or in the callback of a weak reference, which a garbage collection runs in
the middle of other work, Python only reports an exception and continues. So an export that was
collecting garbage finished and ended with 0. A library may also swallow the exception. This module
notes that a signal came: an exception that Python reports as lost is raised again a moment later,
the next step of the work raises it too, and a run that still finishes counts as interrupted.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from itr_deploy.errors import InterruptedWorkError

log = logging.getLogger(__name__)

AGAIN = 0.05
"""Seconds until a lost interruption is raised again."""


class Interruption:
    """The interruption of a run, if any.

    Attributes:
        arrived: Whether a signal came.
    """

    def __init__(self) -> None:
        """Start without an interruption."""
        self.arrived = False

    def check(self) -> None:
        """Raise an interruption that was lost.

        Raises:
            KeyboardInterrupt: A signal came, and the run is not ending because of it.
        """
        if self.arrived and not _is_ending():
            raise KeyboardInterrupt

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal.

        Raises:
            KeyboardInterrupt: Always.
        """
        self.arrived = True
        raise KeyboardInterrupt


_current = Interruption()


def exit_code_of(run: Callable[[], int]) -> int:
    """The exit code of ``run``, or 130 if a signal came, whatever happened to it.

    Only in the main thread. A ``run`` that returns 130 itself has said so to the user.
    """
    code, interruption = 0, Interruption()
    try:
        with interruptible(interruption):
            code = run()
    except KeyboardInterrupt:
        interruption.arrived = True
    except Exception:
        if not interruption.arrived:
            raise
        # Code in C or in a library under import turns an interruption into an error of its own.
        log.debug("what the interruption became", exc_info=True)
    if interruption.arrived and code != InterruptedWorkError.exit_code:
        log.error("interrupted; nothing half-written was left behind")
        code = InterruptedWorkError.exit_code
    return code


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for Ctrl-C and SIGTERM until the block ends, and never lose it.

    Only in the main thread. Signals that the process was started to ignore stay ignored.
    """
    global _current
    before, _current = _current, interruption
    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM) if not _ignored(kind)]
    handlers = {kind: signal.signal(kind, interruption.note) for kind in kinds}
    try:
        with _raised_again(interruption):
            yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        _current = before


def check_interrupted() -> None:
    """Raise an interruption that was lost; called now and then during work.

    Other threads are not interrupted.

    Raises:
        KeyboardInterrupt: A signal came, and the run is not ending because of it.
    """
    if threading.current_thread() is threading.main_thread():
        _current.check()


def was_interrupted() -> bool:
    """Whether a signal came in this run, whatever became of it."""
    return _current.arrived


def end_at_once() -> None:
    """Let a signal end the process: the work is done, and Python would only report it."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        if not _ignored(kind):
            signal.signal(kind, signal.SIG_DFL)


@contextmanager
def _raised_again(interruption: Interruption) -> Iterator[None]:
    """Raise again what Python reports as lost, wherever the main thread is by then.

    Uses a system timer: a thread would take locks, which the main thread may hold.
    """
    report = sys.unraisablehook
    timed = hasattr(signal, "setitimer")

    def lost(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            report(unraisable)
        elif timed:
            signal.setitimer(signal.ITIMER_REAL, AGAIN)

    def again(number: int, frame: FrameType | None) -> None:
        # A library that is being loaded may call Python from C++, where an exception is fatal.
        if _imports(frame):
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        else:
            interruption.check()

    handler = signal.signal(signal.SIGALRM, again) if timed else None
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = report
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being loaded in a frame or one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _ignored(kind: signal.Signals) -> bool:
    return signal.getsignal(kind) is signal.SIG_IGN


def _is_ending() -> bool:
    """Whether an interruption is being handled, by a clean-up or as the exception it became."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
