"""Work in a thread of its own, one at a time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable


class Background:
    """Runs a function beside its callers; asked for during a run, it runs once more."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Take a method, which raises nothing, of the object that has this one.

        Were it held, that object would be freed some time after nobody has it any more, and with it
        a gallery in memory.
        """
        self._work = weakref.WeakMethod(work)
        self._lock = threading.Lock()
        self._running = self._again = False

    def run(self) -> None:
        """Begin now, or after the run that has begun."""
        with self._lock:
            if self._running:
                self._again = True
                return
            self._running = True
        # The program may end at any time; what is loaded is only read.
        threading.Thread(target=self._loop, name="itr-deploy-refresh", daemon=True).start()

    def _loop(self) -> None:
        while True:
            work = self._work()
            if work is None:
                return
            work()
            del work
            with self._lock:
                if not self._again:
                    self._running = False
                    return
                self._again = False
