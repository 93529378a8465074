"""A build's progress, and stopping it when the user asks."""

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
"""Called with a build's phase, the steps done in it, and their total number."""

POLL = 0.2
"""Seconds between wake-ups: only then does this thread notice a signal that another received."""

T = TypeVar("T")


class Cancellation:
    """Runs a build so that Ctrl-C ends it.

    The library's builder is one long call, during which Python handles no signals. It runs in its
    own thread while this one waits; a monitor tells it to stop, which it does after its step.
    """

    def __init__(self) -> None:
        """Start with the build wanted."""
        self._wanted = threading.Event()
        self._wanted.set()

    @property
    def wanted(self) -> bool:
        """Whether the build should continue."""
        return self._wanted.is_set()

    def run(self, build: Callable[[], T]) -> T:
        """Run ``build`` and return its result.

        Raises:
            KeyboardInterrupt: The build was interrupted and has stopped.
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
        """Make signals whose handlers raise `KeyboardInterrupt` stop the build instead."""
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
    """A progress monitor for a builder's configuration; keep it alive as long as the build."""

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
