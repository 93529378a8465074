"""The options of the export of an LHSC, and how its checkpoints are recognised."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itr_deploy.models.family import CheckpointMark
from itr_deploy.models.options import FamilyOptions

MARK = CheckpointMark("IM_GCN_1.g.weight", part=0)
TextPadding = Literal["true-length", "published"]


class LhscOptions(FamilyOptions):
    """The options of the export of an LHSC."""

    text_padding: TextPadding = Field(
        default="true-length",
        description="What a caption's self-attention reads: its own words, so that it scores the "
        "same in any batch; or also the padding of its batch of 100, as the published evaluation "
        "does, to reproduce a published number.",
    )
