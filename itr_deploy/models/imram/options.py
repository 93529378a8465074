"""The options of the export of an IMRAM, and how its checkpoints are recognised."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itr_deploy.models.family import CheckpointMark
from itr_deploy.models.options import FamilyOptions

MARK = CheckpointMark("linear_t2i.weight")
STEP_SCORES = "step_scores"
"""The matcher graphs' output with every step's part of the score."""


class ImramOptions(FamilyOptions):
    """The options of the export of an IMRAM."""

    precompute: Literal["full", "none"] = Field(
        default="full",
        description="What is computed once an item and stored: every projection, or embeddings "
        "only (smaller galleries, several times more work a pair).",
    )
    step_scores: Literal["no", "yes"] = Field(
        default="no",
        description="Whether the matcher graphs also give every matching step's part of a score, "
        "for evaluate's steps (--steps).",
    )
