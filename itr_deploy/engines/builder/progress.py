"""A build's progress, and its end when the user wants it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from itr_deploy.engines.tensorrt_api import TensorRT

Progress = Callable[[str, int, int], None]
"""Told the phase that a build is in, how many of its steps are done, and all of them."""

POLL = 0.2
"""Seconds: a signal that came to another thread is seen when this one wakes."""

T = TypeVar("T")


class Cancellation:
    """Runs a build so that Ctrl-C ends it.

    The library's builder is one long call, in which Python sees no signal. It runs in a thread of
    its own while this one waits; a monitor then tells it to stop, which it does after its step.
    """

    def __init__(self) -> None:
        """Begin with a build that is wanted."""
        self._wanted = threading.Event()
        self._wanted.set()

    @property
    def wanted(self) -> bool:
        """Whether the build is to go on."""
        return self._wanted.is_set()

    def run(self, build: Callable[[], T]) -> T:
        """What ``build`` returns.

        Raises:
            KeyboardInterrupt: It was interrupted, and has ended.
        """
        with self._noting_signals(), ThreadPoolExecutor(1, thread_name_prefix="build") as pool:
            result = pool.submit(build)
            while not wait([result], timeout=POLL).done:
                pass
        if not self.wanted:
            raise KeyboardInterrupt
        return result.result()

    @contextmanager
    def _noting_signals(self) -> Iterator[None]:
        """Signals that raise `KeyboardInterrupt` end the build instead, from any place."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        found = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
        handlers = {kind: handler for kind, handler in found.items() if callable(handler)}

        def note(number: int, frame: FrameType | None) -> None:
            try:
                handlers[signal.Signals(number)](number, frame)
            except KeyboardInterrupt:
                self._wanted.clear()

        for kind in handlers:
            signal.signal(kind, note)
        try:
            yield
        finally:
            for kind, handler in handlers.items():
                signal.signal(kind, handler)


def make_monitor(
    trt: TensorRT, progress: Progress, cancellation: Cancellation
) -> TensorRT.IProgressMonitor:
    """A progress monitor for a builder's configuration, which must be kept as long as the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            steps = self._steps.pop(phase_name, 1)
            progress(phase_name, steps, steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return cancellation.wanted

    return Monitor()
