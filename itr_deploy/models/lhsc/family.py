"""LHSC's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.family import Family
from itr_deploy.models.lhsc.options import MARK, LhscOptions

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: LhscOptions) -> TrainedMatcher:
    from itr_deploy.models.lhsc.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="lhsc",
    title="Learning Hierarchical Semantic Correspondences (ICMR 2022)",
    text="nltk_words",
    load=_load,
    options=LhscOptions,
    mark=MARK,
)
