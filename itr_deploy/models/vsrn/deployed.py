"""The exported form of VSRN: a dual encoder, or for ``measure='order'`` a matcher of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from itr_deploy.models.contract import (
    Deployed,
    DeployedMatcher,
    DualEncoder,
    StoredTensor,
    Workspace,
)
from itr_deploy.models.layers import gru_one_way, last_output
from itr_deploy.models.precision import full_precision
from itr_deploy.models.vsrn.folding import FoldedImageEncoder
from itr_deploy.models.vsrn.plain import Vsrn


def deployed_form(model: Vsrn) -> Deployed:
    """The exported form of a model, by its measure."""
    return VsrnOrder(model) if model.config.measure == "order" else VsrnDualEncoder(model)


class VsrnEncoders(torch.nn.Module):
    """Both encoders: the image's folded, the text's for padded batches."""

    def __init__(self, model: Vsrn) -> None:
        super().__init__()
        self.image = FoldedImageEncoder(model.image)
        self.text = model.text

    def images(self, regions: Tensor) -> Tensor:
        """``float32 [B, R, Di] -> [B, D]``."""
        vectors: Tensor = self.image(regions)
        return vectors

    def texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """``int64 [B, L], int64 [B] -> float32 [B, D]``."""
        outputs = gru_one_way(self.text.rnn, self.text.embed(token_ids))
        vector = last_output(outputs, lengths)
        vector = vector / (vector * vector).sum(dim=1, keepdim=True).sqrt()
        return vector.abs() if self.text.config.absolute else vector


class VsrnDualEncoder(DualEncoder):
    """A `Vsrn` whose score is the dot product."""

    def __init__(self, model: Vsrn) -> None:
        super().__init__()
        self.encoders = VsrnEncoders(model)
        self.embedding_dim = model.config.embed_dim

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]``, in the order of the feature file -> ``[B, D]``."""
        return (self.encoders.images(regions),)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B] -> float32 [B, D]``."""
        return (self.encoders.texts(token_ids, lengths),)


class VsrnOrder(DeployedMatcher):
    """A `Vsrn` whose score is ``-||max(0, text - image)||``, which is no product.

    Its vectors' dot product chooses the shortlist, approximately.
    """

    def __init__(self, model: Vsrn) -> None:
        super().__init__()
        self.encoders = VsrnEncoders(model)
        self.embedding_dim = width = model.config.embed_dim
        self.image_tensors = (StoredTensor(name="vector", width=width, per_position=False),)
        self.text_tensors = (StoredTensor(name="vector", width=width, per_position=False),)
        self.workspace = Workspace(per_word_region=2 * width)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the vector, stored and coarse."""
        vector = self.encoders.images(regions)
        return vector, vector

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the vector, stored and coarse."""
        vector = self.encoders.texts(token_ids, lengths)
        return vector, vector

    @full_precision()  # small differences of squares decide
    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`."""
        apart = torch.relu(texts[0].unsqueeze(2) - images[0].unsqueeze(1))
        return -(apart * apart).sum(dim=3).sqrt()
