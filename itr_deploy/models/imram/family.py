"""IMRAM's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from itr_deploy.bundle.published import Published
from itr_deploy.models.family import CheckpointMark, Family, StepScores
from itr_deploy.models.options import FamilyOptions

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher

MARK = CheckpointMark("linear_t2i.weight")
STEP_SCORES = "step_scores"
"""The matcher graphs' output with every step's part of the score."""


class ImramOptions(FamilyOptions):
    """What an export of an IMRAM may choose."""

    precompute: Literal["full", "none"] = Field(
        default="full",
        description="What is computed once an item and stored: every projection, or embeddings "
        "only (smaller galleries, several times more work a pair).",
    )
    step_scores: Literal["no", "yes"] = Field(
        default="no",
        description="Whether the matcher graphs also give every matching step's part of a score, "
        "for evaluate --steps.",
    )


def _load(checkpoint: Path, options: ImramOptions) -> TrainedMatcher:
    from itr_deploy.models.imram.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="imram",
    title="Iterative Matching with Recurrent Attention Memory (CVPR 2020)",
    text="nltk_words",
    load=_load,
    options=ImramOptions,
    mark=MARK,
    published=(
        Published(
            model="Full-IMRAM",
            data="Flickr30K 1K test",
            image_to_text=(74.1, 93.0, 96.6),
            text_to_image=(53.9, 79.4, 87.2),
            rsum=484.2,
            source="Chen et al., CVPR 2020",
        ),
    ),
    steps=StepScores(
        output=STEP_SCORES, given_by="an IMRAM that was exported with --step-scores yes"
    ),
)
