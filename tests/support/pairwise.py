"""A few cases of many parameters that still combine every two values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

Case = tuple[Any, ...]


def pairwise(*parameters: Sequence[Any]) -> list[Case]:
    """Cases such that any two values of different parameters occur together in one of them.

    It repeatedly takes the first combination with the most pairs that no case has yet, so the
    cases are the same every time. A fault that needs three particular values may be missed, but
    not one that needs two.

    Args:
        parameters: The values of each parameter.
    """
    combinations = list(itertools.product(*(range(len(values)) for values in parameters)))
    missing = {pair for combination in combinations for pair in pairs(combination)}
    chosen = []
    while missing:
        best = max(combinations, key=lambda case: len(missing.intersection(pairs(case))))
        missing.difference_update(pairs(best))
        chosen.append(best)
    return [
        tuple(values[place] for values, place in zip(parameters, case, strict=True))
        for case in chosen
    ]


def pairs(case: Iterable[Any]) -> Iterable[tuple[tuple[int, Any], tuple[int, Any]]]:
    """All pairs of values of a case, each value with the number of its parameter."""
    return itertools.combinations(enumerate(case), 2)
