"""VSE-infinity's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import Published
from itr_deploy.models.family import Family
from itr_deploy.models.vse_infty.options import MARK, VseInftyOptions

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher

PAPER = "Chen et al., CVPR 2021"

Recalls = tuple[float, float, float]


def _load(checkpoint: Path, options: VseInftyOptions) -> TrainedMatcher:
    from itr_deploy.models.vse_infty.checkpoint import load

    return load(checkpoint, options)


def _published(model: str, data: str, image_to_text: Recalls, text_to_image: Recalls) -> Published:
    rsum = round(sum(image_to_text) + sum(text_to_image), 1)
    return Published(model, data, image_to_text, text_to_image, rsum, PAPER)


_WORDS, _BERT = "VSE-infinity, regions, BiGRU", "VSE-infinity, regions, BERT"

FAMILY = Family(
    name="vse_infty",
    title="VSE-infinity: Learning the Best Pooling Strategy (CVPR 2021)",
    text=None,
    load=_load,
    options=VseInftyOptions,
    mark=MARK,
    published=(
        _published(_WORDS, "Flickr30K 1K test", (76.5, 94.2, 97.7), (56.4, 83.4, 89.9)),
        _published(_WORDS, "MS-COCO 1K", (78.5, 96.0, 98.7), (61.7, 90.3, 95.6)),
        _published(_WORDS, "MS-COCO 5K", (56.6, 83.6, 91.4), (39.3, 69.9, 81.1)),
        _published(_BERT, "Flickr30K 1K test", (81.7, 95.4, 97.6), (61.4, 85.9, 91.5)),
        _published(_BERT, "MS-COCO 1K", (79.7, 96.4, 98.9), (64.8, 91.4, 96.3)),
        _published(_BERT, "MS-COCO 5K", (58.3, 85.3, 92.3), (42.4, 72.7, 83.2)),
    ),
)
