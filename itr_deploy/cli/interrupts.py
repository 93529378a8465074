"""Ctrl-C and SIGTERM: a run that was interrupted ends with 130, wherever the signal found it.

The handler of a signal runs between two instructions of Python, whichever they are, and raises
`KeyboardInterrupt` there. In the callback of a weak reference, which a garbage collection runs in
the middle of other work, and in a finaliser, Python reports an exception and goes on; so an export
that was collecting garbage finished, and ended with 0. And a library may swallow it. Here it is
noted that a signal came: what Python reports as lost is raised again a moment later, the next step
of the work raises it too, and a run that nevertheless came to its end is known to be interrupted.
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
    """What a run was sent.

    Attributes:
        arrived: Whether a signal came.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.arrived = False

    def check(self) -> None:
        """Raise an interruption that was lost.

        Raises:
            KeyboardInterrupt: One came, and the run is not ending because of it.
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
    """The exit code of ``run``, or 130 if a signal came, whatever became of that.

    In the main thread alone. A ``run`` that returns 130 itself has said so to the user.
    """
    code, interruption = 0, Interruption()
    try:
        with interruptible(interruption):
            code = run()
    except KeyboardInterrupt:
        interruption.arrived = True
    if interruption.arrived and code != InterruptedWorkError.exit_code:
        log.error("interrupted; nothing half-written was left behind")
        code = InterruptedWorkError.exit_code
    return code


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for Ctrl-C and SIGTERM until the block ends, and never lose it.

    In the main thread alone. Signals that the process was started to ignore stay ignored.
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
    """See `Interruption.check`; for what is called now and then while there is work.

    Other threads are not interrupted.
    """
    if threading.current_thread() is threading.main_thread():
        _current.check()


def end_at_once() -> None:
    """Let a signal end the process: the work is done, and Python would report it and go on."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        if not _ignored(kind):
            signal.signal(kind, signal.SIG_DFL)


@contextmanager
def _raised_again(interruption: Interruption) -> Iterator[None]:
    """Raise what Python reports as lost again, from whatever the main thread does then.

    A timer of the system does it: threads take locks, which the main thread may hold.
    """
    report = sys.unraisablehook
    timed = hasattr(signal, "setitimer")

    def lost(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            report(unraisable)
        elif timed:
            signal.setitimer(signal.ITIMER_REAL, AGAIN)

    handler = signal.signal(signal.SIGALRM, lambda *_: interruption.check()) if timed else None
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = report
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)


def _ignored(kind: signal.Signals) -> bool:
    return signal.getsignal(kind) is signal.SIG_IGN


def _is_ending() -> bool:
    """Whether an interruption is being handled, by a clean-up or by what it was turned into."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
