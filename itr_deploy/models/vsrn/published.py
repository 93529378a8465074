"""VSRN's figures, as the authors of SGRAF list them; its own program gives none."""

from __future__ import annotations

from functools import partial

from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR, Published

_row = partial(Published.of, source="the comparison list of SGRAF's authors")

PUBLISHED = (
    _row("VSRN, one model", FLICKR, (70.4, 89.2, 93.7), (53.0, 77.9, 85.7)),
    _row("VSRN, two models", FLICKR, (71.3, 90.6, 96.0), (54.7, 81.8, 88.2)),
    _row("VSRN, one model", COCO_1K, (74.0, 94.3, 97.8), (60.8, 88.4, 94.1)),
    _row("VSRN, two models", COCO_1K, (76.2, 94.8, 98.2), (62.8, 89.7, 95.1)),
    _row("VSRN, two models", COCO_5K, (53.0, 81.1, 89.4), (40.5, 70.6, 81.1)),
)
