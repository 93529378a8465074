"""Many measurements of one thing as a few figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERCENTILES = (50, 95, 99)


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles and mean of measured seconds, in milliseconds.

    Percentiles are interpolated between the measurements; of means, those of the stages and the
    rest add up to the total's.
    """
    found = np.percentile(seconds, PERCENTILES)
    figures = {f"p{share}": 1000 * float(at) for share, at in zip(PERCENTILES, found, strict=True)}
    return {**figures, "mean": 1000 * float(np.mean(seconds))}
