"""The stages of a search, and a clock that measures how long each takes.

A search marks its stages with `stage`. That does nothing until a caller opens `timed_stages` around
it, in the same thread; searches in other threads are not measured. At level DEBUG every stage is
logged, whether or not a clock runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, TypeVar, get_args

Stage = Literal["encode", "shortlist", "gather", "prefilter", "refine", "match", "rerank"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which a search reaches them."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass
class StageTimes:
    """How long the stages took; complete when the block of `timed_stages` has ended.

    Attributes:
        seconds: By stage, for the stages that were reached. No two overlap: what runs inside a
            stage is part of it, such as the searches of the bank during re-ranking.
        total: Seconds of the whole block.
        searched: The version of the gallery that the last search of the block used, and its number
            of items; None before a search.
    """

    seconds: dict[Stage, float] = field(default_factory=dict)
    total: float = 0.0
    searched: tuple[int, int] | None = None
    _inside: bool = False

    @property
    def rest(self) -> float:
        """Seconds that belong to no stage: loading, ranking the scores, making hits."""
        return self.total - sum(self.seconds.values())

    def measured(self, name: Stage) -> AbstractContextManager[None]:
        """Mark the block as a stage; a stage inside another is not counted separately."""
        return _NOTHING if self._inside else self._measured(name)

    @contextmanager
    def _measured(self, name: Stage) -> Iterator[None]:
        self._inside = True
        begun = perf_counter()
        try:
            yield
        finally:
            taken = perf_counter() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
            log.debug("%s: %.2f ms", name, 1e3 * taken)
            self._inside = False


_NOTHING = nullcontext()
_clock: ContextVar[StageTimes | None] = ContextVar("stage_times", default=None)


@contextmanager
def timed_stages() -> Iterator[StageTimes]:
    """Measure the stages of this thread's searches inside the block."""
    times = StageTimes()
    token = _clock.set(times)
    begun = perf_counter()
    try:
        yield times
    finally:
        times.total = perf_counter() - begun
        _clock.reset(token)


def stage(name: Stage) -> AbstractContextManager[None]:
    """Mark the block as a stage."""
    times = _clock.get()
    if times is None and log.isEnabledFor(logging.DEBUG):
        times = StageTimes()
    return _NOTHING if times is None else times.measured(name)


def note_searched(version: int, items: int) -> None:
    """Say which version of a gallery is searched, and how many items it has."""
    times = _clock.get()
    if times is not None:
        times.searched = version, items


def each(name: Stage, items: Iterable[T]) -> Iterator[T]:
    """Items as they come; waiting for one is part of the stage, using it is not."""
    iterator = iter(items)
    while True:
        with stage(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
