"""The options of a CAMERA that decide its scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from itr_deploy.errors import CheckpointError
from itr_deploy.models.bert import BertSizes

POSITION = 6
"""Numbers that say where a region is in its picture."""

CONVOLUTIONS = (
    (256, 1, 1),
    (128, 3, 1),
    (128, 3, 2),
    (128, 3, 3),
    (128, 5, 1),
    (128, 5, 2),
    (128, 5, 3),
)
"""Channels, width and dilation of the summary's convolutions along the regions, in their order."""

CHANNELS = sum(channels for channels, _, _ in CONVOLUTIONS)


@dataclass(frozen=True)
class CameraConfig:
    """The options of a published CAMERA that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        heads: Heads of the gated self-attention on both sides (``head``).
        views: Vectors of an image (``smry_k``).
        max_words: Tokens W that every caption is padded or cut to; padding is part of the model.
        lower_case: Whether captions are lower-cased (``do_lower_case``).
        bert: Sizes of the text encoder's BERT.
    """

    image_dim: int = 2048
    embed_dim: int = 2048
    heads: int = 64
    views: int = 12
    max_words: int = 32
    lower_case: bool = True
    bert: BertSizes = field(default_factory=BertSizes)

    def __post_init__(self) -> None:
        if self.heads < 1 or self.embed_dim % self.heads:
            raise CheckpointError(
                f"embed_size={self.embed_dim} does not divide into head={self.heads} heads"
            )
        if not 3 <= self.max_words <= self.bert.max_position_embeddings:
            raise CheckpointError(
                f"max_words={self.max_words} must be from 3 to BERT's "
                f"{self.bert.max_position_embeddings} positions"
            )

    def scalars(self) -> dict[str, Any]:
        """The options by name, for a manifest; BERT's sizes carry the prefix ``bert_``."""
        options = asdict(self)
        sizes = options.pop("bert")
        return {**options, **{f"bert_{name}": size for name, size in sizes.items()}}
