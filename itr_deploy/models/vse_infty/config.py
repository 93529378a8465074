"""The options of a VSE-infinity that decide its scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from itr_deploy.errors import CheckpointError
from itr_deploy.models.bert import BertSizes

SMALLEST, LARGEST = 32, 4096
"""Bounds of a side of the resized picture; the published runs have 512."""

PICTURE = 256
"""Side of the resized picture at ``input_scale_factor`` 1."""


@dataclass(frozen=True)
class Stage:
    """A stage of a residual network, as its weights have it.

    Attributes:
        blocks: Number of bottlenecks.
        width: Channels of a block's middle convolution.
        channels: Channels of what comes out.
        groups: Groups of the middle convolution.
    """

    blocks: int
    width: int
    channels: int
    groups: int = 1


@dataclass(frozen=True)
class Backbone:
    """The network that reads pictures.

    Attributes:
        source: Where its weights came from (``backbone_source``), which decides where it strides,
            how it pads and how pictures are normalised. A source with ``wsl`` in it was published
            under CC-BY-NC 4.0, for non-commercial use.
        picture_size: Side S of the resized picture.
        stem: Channels of the first convolution.
        stages: The four stages.
    """

    source: str
    picture_size: int
    stem: int
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not (self.from_detector or self.is_resnext or self.source in IMAGENET):
            raise CheckpointError(
                f"backbone_source={self.source!a:.60} is unknown; known: names with detector or "
                f"wsl in them, imagenet_resnext, {', '.join(IMAGENET)}"
            )
        if not SMALLEST <= self.picture_size <= LARGEST:
            raise CheckpointError(
                f"input_scale_factor gives pictures of {self.picture_size} pixels a side; "
                f"{SMALLEST} to {LARGEST} are possible"
            )
        if not self.is_resnext and any(stage.groups != 1 for stage in self.stages):
            raise CheckpointError(
                f"backbone_source={self.source!a:.60} is a network without groups, but the "
                "checkpoint's has them, as a ResNeXt has: imagenet_resnext, or a name with wsl"
            )

    @property
    def from_detector(self) -> bool:
        """Whether it is the detector's network, which reads blue, green and red of 0 to 255."""
        return "detector" in self.source

    @property
    def is_resnext(self) -> bool:
        """Whether it is torchvision's ResNeXt; otherwise a Caffe-style ResNet."""
        return not self.from_detector and (
            self.source == "imagenet_resnext" or "wsl" in self.source
        )


IMAGENET = ("imagenet", "imagenet_res50", "imagenet_res152")
"""Sources of a Caffe-style ResNet besides the detector."""


@dataclass(frozen=True)
class Words:
    """The word embedding and GRU of a text encoder without BERT.

    Attributes:
        vocab_size: Rows of the word embedding, ``<mask>`` included, which the program appends to
            the words of its vocabulary file.
        word_dim: Width of a word embedding.
        num_layers: Layers of the GRU.
    """

    vocab_size: int
    word_dim: int
    num_layers: int = 1


@dataclass(frozen=True)
class VseInftyConfig:
    """The options of a published VSE-infinity that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature, or of a cell of the backbone (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        text: The text encoder: a BERT, or words and a GRU.
        backbone: The network that reads pictures; None for region features.
        image_norm: Whether the image vector is normalised (not ``no_imgnorm``).
        text_norm: Whether the caption vector is normalised (not ``no_txtnorm``).
    """

    image_dim: int
    embed_dim: int
    text: BertSizes | Words
    backbone: Backbone | None = None
    image_norm: bool = True
    text_norm: bool = True

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding of words or word pieces."""
        return self.text.vocab_size

    @property
    def longest_text(self) -> int | None:
        """Most tokens of a text, None where nothing bounds them."""
        return self.text.max_position_embeddings if isinstance(self.text, BertSizes) else None

    def scalars(self) -> dict[str, Any]:
        """The options by name, for a manifest."""
        options = asdict(self)
        text, backbone = options.pop("text"), options.pop("backbone")
        kind = "bert" if isinstance(self.text, BertSizes) else "words"
        options |= {f"{kind}_{name}": value for name, value in text.items()}
        if backbone is not None:
            for number, stage in enumerate(backbone.pop("stages"), 1):
                options |= {f"stage{number}_{name}": value for name, value in stage.items()}
            options |= {f"backbone_{name}": value for name, value in backbone.items()}
        return options
