"""The options of an IMRAM that decide its scores."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.errors import CheckpointError
from itr_deploy.models.first_norm import check_first_norm

MODES = ("full_IMRAM", "text_IMRAM", "image_IMRAM")


@dataclass(frozen=True)
class ImramConfig:
    """The options of a published IMRAM that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        word_dim: Width of a word embedding.
        vocab_size: Number of words, including the four special ones.
        num_layers: Layers of the GRU.
        mode: Which branches make up the score (``model_mode``).
        steps: Number T of matching steps (``iteration_step``).
        temperature: Factor on the attention logits (``lambda_softmax``).
        attention_norm: First normalisation, over the query axis (``raw_feature_norm``).
        memory_norm: Whether an updated query is normalised (not ``no_IMRAM_norm``).
        image_norm: Whether region embeddings are normalised (not ``no_imgnorm``).
        text_norm: Whether word embeddings are normalised (not ``no_txtnorm``).
    """

    image_dim: int
    embed_dim: int
    word_dim: int
    vocab_size: int
    num_layers: int = 1
    mode: str = "full_IMRAM"
    steps: int = 3
    temperature: float = 9.0
    attention_norm: str = "clipped_l2norm"
    memory_norm: bool = False
    image_norm: bool = True
    text_norm: bool = True

    def __post_init__(self) -> None:
        check_first_norm(self.attention_norm)
        if self.mode not in MODES:
            raise CheckpointError(f"model_mode={self.mode!r} is unknown; known: {', '.join(MODES)}")
        if self.steps < 1:
            raise CheckpointError(f"iteration_step={self.steps} must be at least 1")

    @property
    def has_text_branch(self) -> bool:
        """Whether words query the regions."""
        return self.mode != "image_IMRAM"

    @property
    def has_image_branch(self) -> bool:
        """Whether regions query the words."""
        return self.mode != "text_IMRAM"
