"""Summarises many measurements of one thing in a few figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itr_deploy.benchmarking.report import Milliseconds


def milliseconds(seconds: Sequence[float]) -> Milliseconds:
    """Percentiles and mean of measured seconds, in milliseconds.

    Percentiles are interpolated between the measurements. The means of the stages and of the rest
    add up to the total's mean.
    """
    p50, p95, p99 = (1000 * float(at) for at in np.percentile(seconds, (50, 95, 99)))
    return Milliseconds(p50=p50, p95=p95, p99=p99, mean=1000 * float(np.mean(seconds)))
