"""IMRAM's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import FLICKR, Published
from itr_deploy.models.family import Family, StepScores
from itr_deploy.models.imram.options import MARK, STEP_SCORES, ImramOptions

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


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
            protocol=FLICKR,
            image_to_text=(74.1, 93.0, 96.6),
            text_to_image=(53.9, 79.4, 87.2),
            rsum=484.2,
            source="Chen et al., CVPR 2020",
        ),
    ),
    steps=StepScores(
        output=STEP_SCORES,
        given_by="an IMRAM that was exported with step_scores='yes' (--step-scores yes)",
    ),
)
