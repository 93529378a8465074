"""`manifest.json` of a detector's bundle, as pydantic models.

A detector makes regions from pictures: `detector`, the graph of the whole picture, `regions`, the
graph of its proposals, and what is decided between and after them, whose settings are kept here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itr_deploy.bundle.manifest import (
    SCHEMA_VERSION,
    FileInfo,
    GraphInfo,
    Identifier,
    Name,
    Precision,
    Provenance,
    Size,
)
from itr_deploy.bundle.record import Record

Dialect = Literal["bua-caffe", "frcnn-vg"]
"""Conventions of the Caffe program, and of its port to detectron2: boxes differ."""

LEAST_SIDE = 3
"""Pixels of a side of a resized picture that the network's first pooling needs."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Four = tuple[Finite, Finite, Finite, Finite]
Divisors = tuple[Positive, Positive, Positive, Positive]
LARGEST_SIDE = 4096
"""Pixels of a side of a resized picture: with more, the first maps alone would take gigabytes."""
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class Sides(Record):
    """What a picture is resized to, in pixels: its shorter side, and the most of its longer one."""

    shortest: Side
    longest: Side


class Proposals(Record):
    """How a picture's proposals are chosen.

    Attributes:
        considered: The best that take part in the suppression.
        kept: The first that it leaves.
        overlap: IoU that suppresses.
        min_side: A proposal's sides are longer; in pixels of the original picture in ``bua-caffe``,
            of the resized one in ``frcnn-vg``.
        delta_weights: What the regression's four components are divided by.
    """

    considered: Size
    kept: Size
    overlap: Share
    min_side: Finite
    delta_weights: Divisors = (1.0, 1.0, 1.0, 1.0)


class Selection(Record):
    """Which proposals become regions.

    Attributes:
        min_boxes: The least number of regions, as far as there are proposals.
        max_boxes: The most.
        overlaps: IoU that suppresses; in ``frcnn-vg`` they are tried in turn until ``min_boxes``
            are left, ``bua-caffe`` has one.
        confidence: Least confidence in ``bua-caffe``; ``frcnn-vg`` has none.
        delta_weights: What ``frcnn-vg`` divides its boxes' regression by; None in ``bua-caffe``,
            whose regions are its proposals.
    """

    min_boxes: Size
    max_boxes: Size
    overlaps: Annotated[tuple[Share, ...], Field(min_length=1)]
    confidence: Share | None
    delta_weights: Divisors | None


class DetectorManifest(Record):
    """The whole manifest.

    Attributes:
        kind: Tells it from a matcher's manifest.
        dialect: The conventions of everything that is no graph.
        anchors: ``[A, 4]``, the cell anchors: x1, y1, x2, y2 in pixels of the resized picture.
        stride: Pixels of the resized picture a cell of its map.
        feature_dim: Width of a region's feature.
        classes: Number of classes without the background.
        attributes: Number of attributes without "none"; None without an attribute head.
        chunk: Most proposals that one call of ``regions`` should take.
        encoding_id: Identifies what determines regions and features: weights and settings.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["detector"] = "detector"
    dialect: Dialect
    precision: Precision = "float32"
    sides: Sides
    proposals: Proposals
    selection: Selection
    anchors: Annotated[tuple[Four, ...], Field(min_length=1)]
    stride: Size
    feature_dim: Size
    classes: Size
    attributes: Size | None
    chunk: Size
    graphs: dict[Identifier, GraphInfo]
    encoding_id: str
    provenance: Provenance
    files: dict[Name, FileInfo]

    @property
    def quantization(self) -> None:
        """None: no product of a detector is rounded to integers."""
