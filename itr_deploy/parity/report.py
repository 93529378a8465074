"""The measurements of parity, and whether they pass."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import HeldType
from itr_deploy.parity.changes import RankChange, swaps, top_overlap

RANKS = (1, 5, 10)
"""The values of K in Recall@K."""

LEAST_OVERLAP = 0.9
"""Share of PyTorch's top 10 that a bundle judged by its ranks must keep."""


@dataclass(frozen=True)
class Comparison:
    """One output of the bundle compared with its reference, over all samples.

    Attributes:
        name: Graph and output, or what was varied.
        samples: The shapes that were compared.
        max_absolute: Largest ``|a - b|``.
        max_relative: Largest ``|a - b| / |b|`` where ``|b|`` is above 1e-3.
        needed: The tolerance that would have been needed, the largest ``|a - b| / (1 + |b|)``.
        tolerance: The required tolerance, None if the error is only reported.
        finite: Whether every value is finite.
        storage: The gallery's storage type, if one took part.
    """

    name: str
    samples: tuple[str, ...]
    max_absolute: float
    max_relative: float
    needed: float
    tolerance: float | None
    finite: bool
    storage: HeldType | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance and every value is finite."""
        return self.finite and (self.tolerance is None or self.needed <= self.tolerance)

    @property
    def shortfall(self) -> str:
        """What was found and what is allowed, for a message."""
        return f"{self.needed:.1e} where {self.tolerance or math.inf:.0e} is allowed"


@dataclass(frozen=True)
class RankComparison:
    """The bundle's rankings compared with PyTorch's.

    Attributes:
        name: Direction and storage.
        queries: Number of rankings.
        items: Items in each.
        top_overlap: Mean share of the reference's top 10 that the bundle's top 10 holds.
        same_order: Share of rankings that are completely equal.
        largest_swap: Largest gap in reference score between two items in exchanged order.
        best_kept: Share of rankings whose best item by the reference is among the bundle's first
            1, 5 and 10.
        tolerance: Largest gap allowed.
        finite: Whether every score is finite.
        keep_within: Rank within which the reference's best item must stay in every ranking, or
            None.
        storage: The gallery's storage type, if given.
    """

    name: str
    queries: int
    items: int
    top_overlap: float
    same_order: float
    largest_swap: float
    best_kept: tuple[float, ...]
    tolerance: float
    finite: bool
    keep_within: Literal[5] | None = None
    storage: HeldType | None = None

    @property
    def passed(self) -> bool:
        """Whether only items within the tolerance changed places and the best items were kept."""
        return self.finite and self.largest_swap <= self.tolerance and not self._lost

    @property
    def shortfall(self) -> str:
        """What was found and what is allowed, for a message."""
        if self.largest_swap > self.tolerance:
            return f"{self.largest_swap:.1e} where {self.tolerance:.0e} is allowed"
        return self._lost

    @property
    def _lost(self) -> str:
        """Which of the best items were lost; empty if they are kept or need not be."""
        if self.keep_within is None:
            return ""
        kept = self.best_kept[RANKS.index(self.keep_within)]
        if kept < 1:
            return f"the best item among the first {self.keep_within} in {kept:.1%} of the rankings"
        if self.top_overlap < LEAST_OVERLAP:
            return f"{self.top_overlap:.1%} of the top 10 where {LEAST_OVERLAP:.0%} must be kept"
        return ""


@dataclass(frozen=True)
class ParityReport:
    """All comparisons of one bundle.

    Attributes:
        backend: What ran the bundle.
        outputs: Outputs of the graphs.
        invariance: Scores in other batches and with other padding.
        ranks: Rankings.
        unchecked: What does not hold for the model or could not be checked here, and why.
        changes: How an option of the export changed rankings; for the reader to judge.
    """

    backend: str
    outputs: tuple[Comparison, ...]
    invariance: tuple[Comparison, ...]
    ranks: tuple[RankComparison, ...]
    unchecked: tuple[str, ...] = ()
    changes: tuple[RankChange, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(entry.passed for entry in self.entries)

    @property
    def entries(self) -> list[Comparison | RankComparison]:
        """Every comparison in one list."""
        return [*self.outputs, *self.invariance, *self.ranks]

    def without(self, storage: HeldType, why: str) -> ParityReport:
        """The report without the graphs for a storage type, with the reason ``why`` added."""
        return replace(
            self,
            outputs=tuple(entry for entry in self.outputs if entry.storage != storage),
            ranks=tuple(entry for entry in self.ranks if entry.storage != storage),
            unchecked=(*self.unchecked, why),
        )

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, with the verdicts."""

        def listed(entries: tuple[Any, ...]) -> list[dict[str, Any]]:
            return [{**_finite(asdict(entry)), "passed": entry.passed} for entry in entries]

        return {
            "passed": self.passed,
            "backend": self.backend,
            "outputs": listed(self.outputs),
            "invariance": listed(self.invariance),
            "ranks": listed(self.ranks),
            "unchecked": list(self.unchecked),
            "changes": [asdict(change) for change in self.changes],
        }


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with null for numbers that JSON cannot represent."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in fields.items()
    }


def compare(
    name: str,
    pairs: list[tuple[str, NDArray[np.floating], NDArray[np.floating]]],
    tolerance: float | None,
    storage: HeldType | None = None,
) -> Comparison:
    """Compare ``(sample, got, reference)`` arrays of equal shapes."""
    absolute = relative = needed = 0.0
    finite = True
    for _, got, reference in pairs:
        finite = finite and bool(np.isfinite(got).all() and np.isfinite(reference).all())
        error = np.abs(got.astype(np.float64) - reference)
        size = np.abs(reference)
        absolute = max(absolute, float(error.max(initial=0)))
        needed = max(needed, float((error / (1 + size)).max(initial=0)))
        large = size > 1e-3
        relative = max(relative, float((error[large] / size[large]).max(initial=0)))
    samples = tuple(sample for sample, _, _ in pairs)
    return Comparison(name, samples, absolute, relative, needed, tolerance, finite, storage)


def compare_ranks(
    name: str,
    got: NDArray[np.floating],
    reference: NDArray[np.floating],
    tolerance: float,
    keep_within: Literal[5] | None = None,
    storage: HeldType | None = None,
) -> RankComparison:
    """Compare the rankings of the rows of two score matrices ``[queries, items]``."""
    got_order = np.argsort(-got, axis=1, kind="stable")
    reference_order = np.argsort(-reference, axis=1, kind="stable")
    return RankComparison(
        name=name,
        queries=len(got),
        items=got.shape[1],
        top_overlap=top_overlap(got, reference),
        same_order=float((got_order == reference_order).all(axis=1).mean()),
        largest_swap=float(swaps(got, reference).max(initial=0)),
        best_kept=tuple(
            float((got_order[:, :rank] == reference_order[:, :1]).any(axis=1).mean())
            for rank in RANKS
        ),
        tolerance=tolerance,
        keep_within=keep_within,
        storage=storage,
        finite=bool(np.isfinite(got).all() and np.isfinite(reference).all()),
    )


def missed(report: ParityReport, consequence: str) -> str:
    """The message of a failed gate: the first comparison that failed, and its figures."""
    worst = next(entry for entry in report.entries if not entry.passed)
    count = sum(not entry.passed for entry in report.entries)
    found = worst.shortfall
    if not worst.finite:
        found = "values that are NaN or infinite"
    return (
        f"parity missed by {count} of {len(report.entries)} comparisons, first {worst.name}: "
        f"{found}; {consequence}"
    )
