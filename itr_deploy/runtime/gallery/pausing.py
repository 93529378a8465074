"""How long a thread that reads or computes beside searches rests between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable

Pause = Callable[[float], None]
"""Called after every step with the seconds that it took."""

MOST_PAUSE = 0.1


def at_once(seconds: float) -> None:
    """No pause: whoever reads waits for it."""


def gently(seconds: float) -> None:
    """As long a pause as the work took, so that searches get half of the time at least."""
    time.sleep(min(seconds, MOST_PAUSE))
