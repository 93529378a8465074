"""SGRAF's figures, as its authors' program lists them, which are above the paper's."""

from __future__ import annotations

from itr_deploy.bundle.published import Published

Recalls = tuple[float, float, float]

FLICKR, COCO_1K, COCO_5K = "Flickr30K 1K test", "MS-COCO 1K test", "MS-COCO 5K test"


def _row(model: str, data: str, image_to_text: Recalls, text_to_image: Recalls) -> Published:
    total = round(sum(image_to_text) + sum(text_to_image), 1)
    source = "Diao et al., AAAI 2021, updated"
    return Published(model, data, image_to_text, text_to_image, total, source)


PUBLISHED = (
    _row("SAF", FLICKR, (75.6, 92.7, 96.9), (56.5, 82.0, 88.4)),
    _row("SGR", FLICKR, (76.6, 93.7, 96.6), (56.1, 80.9, 87.0)),
    _row("SGRAF, mean of both", FLICKR, (78.4, 94.6, 97.5), (58.2, 83.0, 89.1)),
    _row("SAF", COCO_1K, (78.0, 95.9, 98.5), (62.2, 89.5, 95.4)),
    _row("SGR", COCO_1K, (77.3, 96.0, 98.6), (62.1, 89.6, 95.3)),
    _row("SGRAF, mean of both", COCO_1K, (79.2, 96.5, 98.6), (63.5, 90.2, 95.8)),
    _row("SAF", COCO_5K, (55.5, 83.8, 91.8), (40.1, 69.7, 80.4)),
    _row("SGR", COCO_5K, (57.3, 83.2, 90.6), (40.5, 69.6, 80.3)),
    _row("SGRAF, mean of both", COCO_5K, (58.8, 84.8, 92.1), (41.6, 70.9, 81.5)),
)
