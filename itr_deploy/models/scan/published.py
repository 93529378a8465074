"""SCAN's figures, as the authors of SGRAF list them beside later models'."""

from __future__ import annotations

from itr_deploy.bundle.published import Published

Recalls = tuple[float, float, float]


def _row(model: str, data: str, image_to_text: Recalls, text_to_image: Recalls) -> Published:
    total = round(sum(image_to_text) + sum(text_to_image), 1)
    source = "Lee et al., ECCV 2018"
    return Published(f"SCAN {model}", data, image_to_text, text_to_image, total, source)


FLICKR, COCO_1K, COCO_5K = "Flickr30K 1K test", "MS-COCO 1K test", "MS-COCO 5K test"

PUBLISHED = (
    _row("t-i AVG", FLICKR, (61.8, 87.5, 93.7), (45.8, 74.4, 83.0)),
    _row("i-t AVG", FLICKR, (67.9, 89.0, 94.4), (43.9, 74.2, 82.8)),
    _row("two models", FLICKR, (67.4, 90.3, 95.8), (48.6, 77.7, 85.2)),
    _row("t-i AVG", COCO_1K, (70.9, 94.5, 97.8), (56.4, 87.0, 93.9)),
    _row("i-t AVG", COCO_1K, (69.2, 93.2, 97.5), (54.4, 86.0, 93.6)),
    _row("two models", COCO_1K, (72.7, 94.8, 98.4), (58.8, 88.4, 94.8)),
    _row("i-t LSE", COCO_5K, (46.4, 77.4, 87.2), (34.4, 63.7, 75.7)),
    _row("two models", COCO_5K, (50.4, 82.2, 90.0), (38.6, 69.3, 80.4)),
)
