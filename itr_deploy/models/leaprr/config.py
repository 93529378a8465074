"""The sizes of a LeaPRR network."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.errors import CheckpointError


@dataclass(frozen=True)
class LeaprrConfig:
    """The sizes of one direction's network.

    Attributes:
        pillars: L, the width of a block of affinities, including the query's own.
        embed_dim: Width E of a row inside the network.
        heads: Heads of the attention.
        hidden: Width of the MLP's hidden layer.
        depth: Number of blocks.
    """

    pillars: int = 64
    embed_dim: int = 768
    heads: int = 24
    hidden: int = 4 * 768
    depth: int = 2

    def __post_init__(self) -> None:
        if self.heads < 1 or self.embed_dim < 1 or self.embed_dim % self.heads:
            raise CheckpointError(
                f"{self.heads} heads do not divide the width {self.embed_dim} of this LeaPRR; "
                "give the heads= (--heads) it was trained with"
            )
