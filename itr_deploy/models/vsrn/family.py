"""VSRN's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import Published
from itr_deploy.models.family import Family
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.vsrn.options import MARK

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher

LIST = "the comparison list of SGRAF's authors"


def _load(checkpoint: Path, options: FamilyOptions) -> TrainedMatcher:
    from itr_deploy.models.vsrn.checkpoint import load

    return load(checkpoint, options)


def _published(
    model: str,
    data: str,
    image_to_text: tuple[float, float, float],
    text_to_image: tuple[float, float, float],
) -> Published:
    rsum = round(sum(image_to_text) + sum(text_to_image), 1)
    return Published(model, data, image_to_text, text_to_image, rsum, LIST)


FAMILY = Family(
    name="vsrn",
    title="Visual Semantic Reasoning Network (ICCV 2019)",
    text="nltk_words",
    load=_load,
    mark=MARK,
    published=(
        _published("VSRN, one model", "Flickr30K 1K test", (70.4, 89.2, 93.7), (53.0, 77.9, 85.7)),
        _published("VSRN, two models", "Flickr30K 1K test", (71.3, 90.6, 96.0), (54.7, 81.8, 88.2)),
        _published("VSRN, one model", "MS-COCO 1K", (74.0, 94.3, 97.8), (60.8, 88.4, 94.1)),
        _published("VSRN, two models", "MS-COCO 1K", (76.2, 94.8, 98.2), (62.8, 89.7, 95.1)),
        _published("VSRN, two models", "MS-COCO 5K", (53.0, 81.1, 89.4), (40.5, 70.6, 81.1)),
    ),
)
