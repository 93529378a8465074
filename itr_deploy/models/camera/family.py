"""CAMERA's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.published import Published
from itr_deploy.models.camera.options import MARK, CameraOptions
from itr_deploy.models.family import Family

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher

SOURCE = "Qu et al., ACM Multimedia 2020, as public lists quote it"

Recalls = tuple[float, float, float]


def _load(checkpoint: Path, options: CameraOptions) -> TrainedMatcher:
    from itr_deploy.models.camera.checkpoint import load

    return load(checkpoint, options)


def _published(model: str, data: str, image_to_text: Recalls, text_to_image: Recalls) -> Published:
    rsum = round(sum(image_to_text) + sum(text_to_image), 1)
    return Published(model, data, image_to_text, text_to_image, rsum, SOURCE)


FAMILY = Family(
    name="camera",
    title="Context-Aware Multi-View Summarization Network (ACM Multimedia 2020)",
    text="wordpiece",
    load=_load,
    options=CameraOptions,
    mark=MARK,
    published=(
        _published(
            "CAMERA, one model", "Flickr30K 1K test", (76.5, 95.1, 97.2), (58.9, 84.7, 90.2)
        ),
        _published("CAMERA, one model", "MS-COCO 1K", (75.9, 95.5, 98.6), (62.3, 90.1, 95.2)),
        _published("CAMERA, one model", "MS-COCO 5K", (53.1, 81.3, 89.8), (39.0, 70.5, 81.5)),
    ),
)
