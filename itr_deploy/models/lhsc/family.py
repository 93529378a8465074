"""LHSC's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from itr_deploy.models.family import CheckpointMark, Family
from itr_deploy.models.options import FamilyOptions

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher

MARK = CheckpointMark("IM_GCN_1.g.weight", part=0)
TextPadding = Literal["true-length", "published"]


class LhscOptions(FamilyOptions):
    """What an export of an LHSC may choose."""

    text_padding: TextPadding = Field(
        default="true-length",
        description="What a caption's self-attention reads: its own words, so that it scores the "
        "same in any batch; or also the padding of its batch of 100, as the published evaluation "
        "does, to reproduce a published number.",
    )


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
