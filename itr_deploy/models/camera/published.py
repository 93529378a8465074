"""CAMERA's figures, as two public lists quote the paper; its program has none."""

from __future__ import annotations

from functools import partial

from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR, Published

_row = partial(Published.of, source="Qu et al., ACM Multimedia 2020, as public lists quote it")

PUBLISHED = (
    _row("CAMERA, one model", FLICKR, (76.5, 95.1, 97.2), (58.9, 84.7, 90.2)),
    _row("CAMERA, two models", FLICKR, (78.0, 95.1, 97.9), (60.3, 85.9, 91.7)),
    _row("CAMERA, one model", COCO_1K, (75.9, 95.5, 98.6), (62.3, 90.1, 95.2)),
    _row("CAMERA, two models", COCO_1K, (77.5, 96.3, 98.8), (63.4, 90.9, 95.8)),
    _row("CAMERA, one model", COCO_5K, (53.1, 81.3, 89.8), (39.0, 70.5, 81.5)),
    _row("CAMERA, two models", COCO_5K, (55.1, 82.9, 91.2), (40.5, 71.7, 82.5)),
)
