"""SCAN's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.family import Family
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.scan.options import MARK
from itr_deploy.models.scan.published import PUBLISHED

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: FamilyOptions) -> TrainedMatcher:
    from itr_deploy.models.scan.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="scan",
    title="Stacked Cross Attention for Image-Text Matching (ECCV 2018)",
    text="nltk_words",
    load=_load,
    mark=MARK,
    published=PUBLISHED,
)
