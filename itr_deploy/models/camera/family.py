"""CAMERA's registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.models.camera.options import MARK, CameraOptions
from itr_deploy.models.camera.published import PUBLISHED
from itr_deploy.models.family import Family

if TYPE_CHECKING:
    from itr_deploy.models.contract import TrainedMatcher


def _load(checkpoint: Path, options: CameraOptions) -> TrainedMatcher:
    from itr_deploy.models.camera.checkpoint import load

    return load(checkpoint, options)


FAMILY = Family(
    name="camera",
    title="Context-Aware Multi-View Summarization Network (ACM Multimedia 2020)",
    text="wordpiece",
    load=_load,
    options=CameraOptions,
    mark=MARK,
    published=PUBLISHED,
)
