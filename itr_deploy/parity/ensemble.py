"""The gate for ensembles: one appears only if it scores as its members do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itr_deploy.parity.joined import Figures, Inputs, compare_joined, figures
from itr_deploy.parity.report import ParityReport
from itr_deploy.runtime.matcher import Matcher


def compare_ensemble(
    ensemble: Matcher, members: Sequence[Matcher], weights: Sequence[float]
) -> ParityReport:
    """Compare every matcher graph and the coarse product with the members' weighted mean."""

    def means(given: Inputs) -> Figures:
        parts = [figures(member, given) for member in members]
        shared = set.intersection(*(set(part) for part in parts))
        return {
            what: np.average([part[what] for part in parts], axis=0, weights=weights)
            for what in shared
        }

    return compare_joined(ensemble, means)
