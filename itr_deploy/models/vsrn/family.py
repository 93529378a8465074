"""VSRN's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.family import Family
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.vsrn.options import MARK
from itr_deploy.models.vsrn.published import PUBLISHED

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: FamilyOptions) -> TrainedMatcher:
    from itr_deploy.models.vsrn.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="vsrn",
    title="Visual Semantic Reasoning Network (ICCV 2019)",
    text="nltk_words",
    load=_load,
    mark=MARK,
    published=PUBLISHED,
)
