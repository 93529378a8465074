"""The options of an LHSC that decide its scores."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.errors import CheckpointError
from itr_deploy.models.lhsc.options import TextPadding

REGIONS = 36
"""Regions of every image: a batch normalisation has one channel per region."""

LAYERS = 4
"""Depth of the graph-convolution stack and of the self-attention stack."""

PUBLISHED_BATCH = 100
"""Captions that the published evaluation encodes together."""


@dataclass(frozen=True)
class LhscConfig:
    """The options of a published LHSC that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        sim_dim: Width S of a similarity vector.
        word_dim: Width Dw of a word embedding.
        vocab_size: Number of words, including the four special ones.
        num_layers: Layers of the GRU.
        image_norm: Whether region embeddings are normalised (not ``no_imgnorm``).
        text_norm: Whether word embeddings are normalised (not ``no_txtnorm``).
        text_padding: What a caption's self-attention reads besides its own words:
            ``"true-length"`` nothing; ``"published"`` the padding up to the longest of each
            `PUBLISHED_BATCH` consecutive captions, as in the published evaluation.
    """

    image_dim: int
    embed_dim: int
    sim_dim: int
    word_dim: int
    vocab_size: int
    num_layers: int = 1
    image_norm: bool = True
    text_norm: bool = True
    text_padding: TextPadding = "true-length"

    def __post_init__(self) -> None:
        if self.embed_dim % 4:
            raise CheckpointError(
                f"embed_size={self.embed_dim} is not a multiple of 4: the graph convolution "
                "has four projections of a quarter each"
            )

    @property
    def padded_together(self) -> int | None:
        """Number of consecutive captions whose padding takes part, None if it never does."""
        return PUBLISHED_BATCH if self.text_padding == "published" else None
