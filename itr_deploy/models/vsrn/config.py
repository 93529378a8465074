"""The options of a VSRN that decide its scores."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.errors import CheckpointError

FLICKR = "f30k_precomp"
"""The data name for which the published program builds an architecture of its own."""

ARCHITECTURES = ("coco", "f30k")
MEASURES = ("cosine", "order")

LAYERS = 4
"""Graph layers, each with its own weights."""


@dataclass(frozen=True)
class VsrnConfig:
    """The options of a published VSRN that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        word_dim: Width Dw of a word embedding.
        vocab_size: Number of words, including the four special ones.
        num_layers: Layers of the text's GRU.
        architecture: ``"f30k"`` batch-normalises the image vector; ``"coco"`` instead normalises
            the regions before the graph layers (``data_name``, and whether there is a ``bn``).
        measure: ``"cosine"``, a dot product, or ``"order"``.
        image_norm: Whether the image vector is normalised (not ``no_imgnorm``).
        absolute: Whether both vectors' absolute values are taken (``use_abs``).
    """

    image_dim: int
    embed_dim: int
    word_dim: int
    vocab_size: int
    num_layers: int = 1
    architecture: str = "coco"
    measure: str = "cosine"
    image_norm: bool = True
    absolute: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise CheckpointError(
                f"architecture={self.architecture!r} is unknown; known: {', '.join(ARCHITECTURES)}"
            )
        if self.measure not in MEASURES:
            raise CheckpointError(
                f"measure={self.measure!r} is unknown; known: {', '.join(MEASURES)}"
            )
