"""VSE-infinity's figures, from its paper and the supplement."""

from __future__ import annotations

from functools import partial

from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR, Published

_row = partial(Published.of, source="Chen et al., CVPR 2021")

_REGION_WORDS = "VSE-infinity, regions, BiGRU"
_GRID_WORDS = "VSE-infinity, grid, BiGRU"
_BOTH_WORDS = "VSE-infinity, regions + grid, BiGRU"
_REGION_BERT = "VSE-infinity, regions, BERT"
_GRID_BERT = "VSE-infinity, grid, BERT"
_BOTH_BERT = "VSE-infinity, regions + grid, BERT"
_WSL = "VSE-infinity, WSL grid, BERT"
_TWO_WSL = "VSE-infinity, two WSL grids, BERT"
_RESNET = "VSE-infinity, ResNet-152 grid, BiGRU"

PUBLISHED = (
    _row(_REGION_WORDS, FLICKR, (76.5, 94.2, 97.7), (56.4, 83.4, 89.9)),
    _row(_GRID_WORDS, FLICKR, (77.9, 93.7, 97.4), (57.5, 83.4, 90.2)),
    _row(_BOTH_WORDS, FLICKR, (80.7, 96.4, 98.3), (60.8, 86.3, 92.3)),
    _row(_REGION_BERT, FLICKR, (81.7, 95.4, 97.6), (61.4, 85.9, 91.5)),
    _row(_GRID_BERT, FLICKR, (81.5, 97.1, 98.5), (63.7, 88.3, 93.2)),
    _row(_BOTH_BERT, FLICKR, (85.3, 97.2, 98.9), (66.7, 89.9, 94.0)),
    _row(_WSL, FLICKR, (88.4, 98.3, 99.5), (74.2, 93.7, 96.8)),
    _row(_TWO_WSL, FLICKR, (88.7, 98.9, 99.8), (76.1, 94.5, 97.1)),
    _row(_RESNET, FLICKR, (77.1, 94.5, 97.1), (58.5, 84.1, 89.6)),
    _row(_REGION_WORDS, COCO_1K, (78.5, 96.0, 98.7), (61.7, 90.3, 95.6)),
    _row(_GRID_WORDS, COCO_1K, (78.0, 95.8, 98.5), (62.6, 90.6, 96.0)),
    _row(_BOTH_WORDS, COCO_1K, (80.0, 97.0, 99.0), (64.8, 91.6, 96.5)),
    _row(_REGION_BERT, COCO_1K, (79.7, 96.4, 98.9), (64.8, 91.4, 96.3)),
    _row(_GRID_BERT, COCO_1K, (80.4, 96.8, 99.1), (66.4, 92.1, 96.7)),
    _row(_BOTH_BERT, COCO_1K, (82.2, 97.5, 99.5), (68.1, 92.9, 97.2)),
    _row(_WSL, COCO_1K, (84.5, 98.1, 99.4), (72.0, 93.9, 97.5)),
    _row(_TWO_WSL, COCO_1K, (85.6, 98.0, 99.4), (73.1, 94.3, 97.7)),
    _row(_RESNET, COCO_1K, (76.5, 95.3, 98.5), (62.9, 90.6, 95.8)),
    _row(_REGION_WORDS, COCO_5K, (56.6, 83.6, 91.4), (39.3, 69.9, 81.1)),
    _row(_GRID_WORDS, COCO_5K, (56.2, 83.7, 90.9), (40.8, 70.6, 81.5)),
    _row(_BOTH_WORDS, COCO_5K, (59.8, 86.1, 92.8), (42.7, 72.8, 83.3)),
    _row(_REGION_BERT, COCO_5K, (58.3, 85.3, 92.3), (42.4, 72.7, 83.2)),
    _row(_GRID_BERT, COCO_5K, (59.1, 85.9, 92.8), (44.1, 74.1, 84.0)),
    _row(_BOTH_BERT, COCO_5K, (62.5, 87.8, 94.0), (46.0, 75.8, 85.7)),
    _row(_WSL, COCO_5K, (66.4, 89.3, 94.6), (51.6, 79.3, 87.6)),
    _row(_TWO_WSL, COCO_5K, (68.1, 90.2, 95.2), (52.7, 80.2, 88.3)),
    _row(_RESNET, COCO_5K, (55.1, 81.9, 89.9), (40.9, 70.6, 81.5)),
)
