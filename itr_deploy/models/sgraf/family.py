"""SGRAF's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.family import Family
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.sgraf.options import MARK
from itr_deploy.models.sgraf.published import PUBLISHED

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: FamilyOptions) -> TrainedMatcher:
    from itr_deploy.models.sgraf.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="sgraf",
    title="Similarity Reasoning and Filtration, SAF and SGR (AAAI 2021)",
    text="nltk_words",
    load=_load,
    mark=MARK,
    published=PUBLISHED,
)
