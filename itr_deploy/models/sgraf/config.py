"""The options of an SGRAF that decide its scores."""

from __future__ import annotations

from dataclasses import dataclass

MODULES = ("SAF", "SGR")
PUBLISHED_REGIONS = 36


@dataclass(frozen=True)
class SgrafConfig:
    """The options of a published SGRAF that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        sim_dim: Width S of a similarity vector.
        word_dim: Width Dw of a word embedding.
        vocab_size: Number of words, including the four special ones.
        module: What similarity vectors become a score by: ``"SAF"``, attention filtration, or
            ``"SGR"``, graph reasoning (``module_name``).
        steps: Steps of the graph reasoning (``sgr_step``); 0 for SAF.
        regions: Regions of every image: a batch normalisation has one channel per region.
        num_layers: Layers of the GRU.
        bidirectional: Whether the GRU reads captions both ways (``bi_gru``).
        image_norm: Whether region embeddings are normalised (not ``no_imgnorm``).
        text_norm: Whether word embeddings are normalised (not ``no_txtnorm``).
    """

    image_dim: int
    embed_dim: int
    sim_dim: int
    word_dim: int
    vocab_size: int
    module: str
    steps: int
    regions: int = PUBLISHED_REGIONS
    num_layers: int = 1
    bidirectional: bool = True
    image_norm: bool = True
    text_norm: bool = True
