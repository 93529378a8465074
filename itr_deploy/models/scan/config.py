"""The options of a SCAN that decide its scores."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.errors import CheckpointError
from itr_deploy.models.first_norm import check_first_norm

DIRECTIONS = ("t2i", "i2t")
AGGREGATIONS = ("LogSumExp", "Mean", "Max", "Sum")


@dataclass(frozen=True)
class ScanConfig:
    """The options of a published SCAN that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        word_dim: Width Dw of a word embedding.
        vocab_size: Number of words, including the four special ones.
        direction: ``"t2i"``: words attend to regions; ``"i2t"``: regions attend to words
            (``cross_attn``).
        attention_norm: First normalisation, over the query axis (``raw_feature_norm``).
        temperature: Factor on the attention logits (``lambda_softmax``).
        aggregation: How the cosines of all queries become a score (``agg_func``).
        sharpness: Factor on the cosines within LogSumExp (``lambda_lse``); not used by others.
        num_layers: Layers of the GRU.
        bidirectional: Whether the GRU reads captions both ways (``bi_gru``).
        image_norm: Whether region embeddings are normalised (not ``no_imgnorm``).
        text_norm: Whether word embeddings are normalised (not ``no_txtnorm``).
    """

    image_dim: int
    embed_dim: int
    word_dim: int
    vocab_size: int
    direction: str = "t2i"
    attention_norm: str = "clipped_l2norm"
    temperature: float = 9.0
    aggregation: str = "LogSumExp"
    sharpness: float = 6.0
    num_layers: int = 1
    bidirectional: bool = True
    image_norm: bool = True
    text_norm: bool = True

    def __post_init__(self) -> None:
        check_first_norm(self.attention_norm)
        for option, value, known in (
            ("cross_attn", self.direction, DIRECTIONS),
            ("agg_func", self.aggregation, AGGREGATIONS),
        ):
            if value not in known:
                raise CheckpointError(f"{option}={value!r} is unknown; known: {', '.join(known)}")
        if self.aggregation == "LogSumExp" and self.sharpness == 0:
            raise CheckpointError(
                "lambda_lse=0 with agg_func='LogSumExp' has no defined score: it divides by 0; "
                "train with another, the published one is 6"
            )
