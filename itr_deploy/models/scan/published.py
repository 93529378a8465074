"""SCAN's figures, as the authors of SGRAF list them beside later models'."""

from __future__ import annotations

from functools import partial

from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR, Published

_row = partial(Published.of, source="Lee et al., ECCV 2018")

PUBLISHED = (
    _row("SCAN t-i AVG", FLICKR, (61.8, 87.5, 93.7), (45.8, 74.4, 83.0)),
    _row("SCAN i-t AVG", FLICKR, (67.9, 89.0, 94.4), (43.9, 74.2, 82.8)),
    _row("SCAN two models", FLICKR, (67.4, 90.3, 95.8), (48.6, 77.7, 85.2)),
    _row("SCAN t-i AVG", COCO_1K, (70.9, 94.5, 97.8), (56.4, 87.0, 93.9)),
    _row("SCAN i-t AVG", COCO_1K, (69.2, 93.2, 97.5), (54.4, 86.0, 93.6)),
    _row("SCAN two models", COCO_1K, (72.7, 94.8, 98.4), (58.8, 88.4, 94.8)),
    _row("SCAN i-t LSE", COCO_5K, (46.4, 77.4, 87.2), (34.4, 63.7, 75.7)),
    _row("SCAN two models", COCO_5K, (50.4, 82.2, 90.0), (38.6, 69.3, 80.4)),
)
