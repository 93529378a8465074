"""The exported form of CAMERA: a dual encoder with several views of an image."""

from __future__ import annotations

from torch import Tensor

from itr_deploy.models.camera.folding import FoldedImageEncoder, FoldedTextEncoder
from itr_deploy.models.camera.plain import Camera
from itr_deploy.models.contract import DualEncoder


class CameraDeployment(DualEncoder):
    """A `Camera`; the padding of a text takes part in its encoding and is part of the model."""

    takes_boxes = True

    def __init__(self, model: Camera) -> None:
        super().__init__()
        config = model.config
        self.image = FoldedImageEncoder(model.image, config)
        self.text = FoldedTextEncoder(model.text, config)
        self.embedding_dim, self.views = config.embed_dim, config.views
        self.text_length = config.max_words

    def encode_placed_images(
        self, regions: Tensor, boxes: Tensor, picture_sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """``[B, R, Di], [B, R, 4], [B, 2]`` -> the views, ``[B, k * D]``."""
        return (self.image(regions, boxes, picture_sizes).flatten(1),)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, W], int64 [B] -> float32 [B, D]``."""
        return (self.text(token_ids, lengths),)
