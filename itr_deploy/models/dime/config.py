"""The options of a DIME that decide its scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from itr_deploy.errors import CheckpointError
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.first_norm import check_first_norm

DIRECTIONS = ("i2t", "t2i")


@dataclass(frozen=True)
class DimeConfig:
    """The options of a published DIME that decide its scores.

    Attributes:
        direction: Which side is refined: regions (``i2t``) or words (``t2i``).
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        max_words: Tokens W that every caption is padded or cut to.
        heads: Heads of the intra-modal reasoning cell (``num_head_IMRC``).
        hidden: Hidden width of that cell's feed-forward layer (``hid_IMRC``).
        router_hidden: Hidden width of the routers (``hid_router``).
        temperature: Factor on the attention logits (``lambda_softmax_CMRC``).
        attention_norm: First normalisation, over the query axis (``raw_feature_norm_CMRC``).
        image_norm: Whether the image vector is normalised (not ``no_imgnorm``).
        image_abs: Whether its absolute value is taken (``use_abs``).
        bert: Sizes of the text encoder's BERT.
    """

    direction: str
    image_dim: int
    embed_dim: int = 256
    max_words: int = 32
    heads: int = 16
    hidden: int = 512
    router_hidden: int = 512
    temperature: float = 4.0
    attention_norm: str = "clipped_l2norm"
    image_norm: bool = True
    image_abs: bool = False
    bert: BertSizes = field(default_factory=BertSizes)

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise CheckpointError(
                f"direction={self.direction!r} is unknown; known: {', '.join(DIRECTIONS)}"
            )
        check_first_norm(self.attention_norm, option="raw_feature_norm_CMRC")
        if self.heads < 1 or self.embed_dim % self.heads:
            raise CheckpointError(
                f"embed_size={self.embed_dim} does not divide into num_head_IMRC={self.heads} heads"
            )
        if not 3 <= self.max_words <= self.bert.max_position_embeddings:
            raise CheckpointError(
                f"max_words={self.max_words} must be from 3 to BERT's "
                f"{self.bert.max_position_embeddings} positions"
            )

    @property
    def refines_words(self) -> bool:
        """Whether words are refined with regions as context; otherwise the reverse."""
        return self.direction == "t2i"

    def scalars(self) -> dict[str, Any]:
        """The options by name, for a manifest; BERT's sizes carry the prefix ``bert_``."""
        options = asdict(self)
        sizes = options.pop("bert")
        return {**options, **{f"bert_{name}": size for name, size in sizes.items()}}
