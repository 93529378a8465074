"""LeaPRR's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import COCO_5K, FLICKR, Published
from itr_deploy.models.family import RerankerFamily

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedReranker


def _load(checkpoint: Path, heads: int) -> TrainedReranker:
    from itr_deploy.models.leaprr.checkpoint import load

    return load(checkpoint, heads=heads)


FAMILY = RerankerFamily(
    name="leaprr",
    title="Learnable Pillar-based Re-ranking (SIGIR 2023), added to a matcher's bundle",
    load=_load,
    heads=24,
    rows=(8, 32),
    neighbours=10,
    edge_share=0.8,
    published=(
        Published(
            model="LeaPRR on the DIME ensemble",
            protocol=FLICKR,
            image_to_text=None,
            text_to_image=None,
            rsum=535.6,
            source="Qu et al., SIGIR 2023",
        ),
        Published(
            model="LeaPRR on VSE∞",
            protocol=COCO_5K,
            image_to_text=None,
            text_to_image=None,
            rsum=451.5,
            source="Qu et al., SIGIR 2023",
        ),
    ),
)
