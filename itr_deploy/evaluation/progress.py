"""The callbacks that receive an evaluation's progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from itr_deploy.values import satisfying


@dataclass(frozen=True)
class Bar:
    """Callbacks of a progress bar.

    Attributes:
        step: Called with the step that begins.
        start: Called with what the pairs are for, their number, and how many are already done.
        update: Called with the number of pairs that are done.
    """

    step: Callable[[str], object] = lambda name: None
    start: Callable[[str, int, int], object] = lambda name, total, done: None
    update: Callable[[int], object] = lambda done: None


QUIET = Bar()
"""Shows nothing."""

BAR = satisfying("a Bar of itr_deploy.evaluation.progress", lambda value: isinstance(value, Bar))
