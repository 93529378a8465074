"""What a detector is built by: everything that its weights show."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.bundle.detector import Dialect, Four

STRIDE = 16
"""Pixels of the resized picture a cell of its map: five halvings, of which res5 has none."""

POOLED = 14
"""Cells a side of what is pooled for a region."""

CAFFE_MEAN = (102.9801, 115.9465, 122.7717)
"""Blue, green, red, on the scale of 0 to 255; both dialects' pictures are these less it."""


@dataclass(frozen=True)
class Stage:
    """A stage of the residual network.

    Attributes:
        blocks: Number of bottlenecks.
        width: Channels of a block's middle convolution.
        channels: Channels of what comes out.
    """

    blocks: int
    width: int
    channels: int


@dataclass(frozen=True)
class AttributeHead:
    """What tells a region's attribute from its feature and its class.

    Attributes:
        embedding: Width of a class's vector.
        hidden: Width between its two layers.
        scores: Number of its scores, one of them for "none".
    """

    embedding: int
    hidden: int
    scores: int


@dataclass(frozen=True)
class DetectorConfig:
    """The network.

    Attributes:
        dialect: Its conventions, which the rows of its objectness scores tell.
        stem: Channels of the first convolution.
        stages: res2, res3 and res4.
        head: res5, which reads regions.
        hidden: Channels of the proposal head.
        anchors: The cell anchors: x1, y1, x2, y2 in pixels of the resized picture.
        class_scores: Number of class scores K, the background among them.
        attributes: The attribute head, if it has one.
    """

    dialect: Dialect
    stem: int
    stages: tuple[Stage, Stage, Stage]
    head: Stage
    hidden: int
    anchors: tuple[Four, ...]
    class_scores: int
    attributes: AttributeHead | None

    @property
    def is_caffe(self) -> bool:
        """Whether its conventions are those of the Caffe program."""
        return self.dialect == "bua-caffe"

    @property
    def map_channels(self) -> int:
        """Channels of res4."""
        return self.stages[-1].channels

    @property
    def feature_dim(self) -> int:
        """Width of a region's feature."""
        return self.head.channels

    @property
    def classes(self) -> int:
        """Number of classes without the background."""
        return self.class_scores - 1

    @property
    def attribute_count(self) -> int | None:
        """Number of attributes without "none"; None without an attribute head."""
        return None if self.attributes is None else self.attributes.scores - 1

    @property
    def attribute_probabilities(self) -> int:
        """Number of attribute probabilities: only ``bua-caffe`` counts "none" among them."""
        scores = 0 if self.attributes is None else self.attributes.scores
        return scores if self.is_caffe else scores - 1

    def described(self) -> dict[str, str]:
        """What was read, for people: names and values."""
        blocks = ", ".join(str(stage.blocks) for stage in (*self.stages, self.head))
        attributes = "none" if self.attributes is None else f"{self.attribute_count:,}"
        return {
            "dialect": self.dialect,
            "blocks": f"{blocks} (res2 to res5)",
            "features": f"{self.feature_dim:,} numbers a region",
            "classes": f"{self.classes:,}",
            "attributes": attributes,
            "anchors": f"{len(self.anchors)} a cell of {STRIDE} pixels",
        }
