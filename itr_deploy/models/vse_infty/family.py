"""VSE-infinity's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.family import Family
from itr_deploy.models.vse_infty.options import MARK, VseInftyOptions
from itr_deploy.models.vse_infty.published import PUBLISHED

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: VseInftyOptions) -> TrainedMatcher:
    from itr_deploy.models.vse_infty.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="vse_infty",
    title="VSE-infinity: Learning the Best Pooling Strategy (CVPR 2021)",
    text=None,
    load=_load,
    options=VseInftyOptions,
    mark=MARK,
    published=PUBLISHED,
)
