"""VSE-infinity as published: local features, GPO, and one vector an image and a caption.

The state dict's keys are the published ones below ``image.`` and ``text.``, less what no score
depends on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from itr_deploy.errors import InputError
from itr_deploy.models.bert import BertSizes, build_bert, last_layer
from itr_deploy.models.layers import bigru_packed, l2_norm_published
from itr_deploy.models.vse_infty.backbone import ResidualNetwork
from itr_deploy.models.vse_infty.config import Backbone, VseInftyConfig, Words
from itr_deploy.models.vse_infty.pooling import Gpo
from itr_deploy.models.vse_infty.preprocessing import Preprocessing


class ImageEncoder(nn.Module, ABC):
    """What makes local features of images."""

    @property
    @abstractmethod
    def pooling(self) -> Gpo:
        """The pooling of the local features."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Local features ``[N, K, D]``."""


class RegionEncoder(ImageEncoder):
    """``regions [N, R, Di] -> [N, R, D]``: a Linear and, added to it, two layers more."""

    def __init__(self, config: VseInftyConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.image_dim, config.embed_dim)
        self.mlp = ResidualMlp(config.image_dim, config.embed_dim)
        self.gpool = Gpo()

    @property
    def pooling(self) -> Gpo:
        """The pooling of the regions."""
        return self.gpool

    def forward(self, images: Tensor) -> Tensor:
        """Every region on its own."""
        embedded: Tensor = self.fc(images) + self.mlp(images)
        return embedded


class ResidualMlp(nn.Module):
    """``[N, R, Di] -> [N, R, D]``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = outputs // 2
        self.layers = nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)])
        self.bns = nn.ModuleList([nn.BatchNorm1d(hidden)])

    def forward(self, x: Tensor) -> Tensor:
        """Linear, batch normalisation of every position's vector, ReLU, Linear."""
        hidden = self.bns[0](self.layers[0](x).transpose(1, 2)).transpose(1, 2)
        update: Tensor = self.layers[1](torch.relu(hidden))
        return update


class GridEncoder(ImageEncoder):
    """Preprocessed pictures ``[N, 3, S, S] -> [N, h w, D]``: a network's cells and a Linear."""

    def __init__(self, config: VseInftyConfig, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = ResidualNetwork(backbone)
        self.image_encoder = GridHead(config)

    @property
    def pooling(self) -> Gpo:
        """The pooling of the cells."""
        return self.image_encoder.gpool

    def forward(self, images: Tensor) -> Tensor:
        """The cells of every picture, row by row."""
        cells = self.backbone(images).flatten(2).transpose(1, 2)
        embedded: Tensor = self.image_encoder.fc(cells)
        return embedded


class GridHead(nn.Module):
    """What comes after the network; its forward pass is that of its encoder."""

    def __init__(self, config: VseInftyConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.image_dim, config.embed_dim)
        self.gpool = Gpo()


class BertEncoder(nn.Module):
    """``token_ids [C, L] -> [C, L, D]``: every position of BERT's last layer and a Linear."""

    def __init__(self, config: VseInftyConfig, sizes: BertSizes) -> None:
        super().__init__()
        self.bert = build_bert(sizes)
        self.linear = nn.Linear(sizes.hidden_size, config.embed_dim)
        self.gpool = Gpo()
        self.longest = sizes.max_position_embeddings

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Local features; those of padded positions have no meaning.

        Raises:
            InputError: A caption has more tokens than BERT has positions.
        """
        if token_ids.shape[1] > self.longest:
            raise InputError(
                f"a caption of {token_ids.shape[1]} tokens; this model's BERT has {self.longest} "
                "positions, shorten it"
            )
        embedded: Tensor = self.linear(last_layer(self.bert, token_ids, lengths))
        return embedded


class WordEncoder(nn.Module):
    """``token_ids [C, L] -> [C, L, D]``: word embedding and both directions' mean of a GRU."""

    def __init__(self, config: VseInftyConfig, sizes: Words) -> None:
        super().__init__()
        self.embed = nn.Embedding(sizes.vocab_size, sizes.word_dim)
        self.rnn = nn.GRU(
            sizes.word_dim,
            config.embed_dim,
            sizes.num_layers,
            batch_first=True,
            bidirectional=True,
        )
        self.gpool = Gpo()

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Local features; those of padded positions are 0."""
        return bigru_packed(self.rnn, self.embed(token_ids), lengths)


class VseInfty(nn.Module):
    """VSE-infinity as published."""

    def __init__(self, config: VseInftyConfig) -> None:
        super().__init__()
        self.config = config
        self.image: ImageEncoder
        if config.backbone is None:
            self.image = RegionEncoder(config)
        else:
            self.image = GridEncoder(config, config.backbone)
        self.text: BertEncoder | WordEncoder
        if isinstance(config.text, Words):
            self.text = WordEncoder(config, config.text)
        else:
            self.text = BertEncoder(config, config.text)

    def encode_images(self, images: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Image vectors ``float32 [N, D]``.

        Args:
            images: Regions ``float32 [N, R, Di]``, padded with anything; or pictures that went
                through `Preprocessing`, ``float32 [N, 3, S, S]``.
            lengths: Every image's number of regions, ``int64 [N]``, at least 1; by default R.

        Raises:
            InputError: An image has no region.
        """
        local = self.image(images)
        if lengths is None:
            lengths = torch.full((len(local),), local.shape[1])
        if int(lengths.min()) < 1:
            raise InputError(
                f"image {int(lengths.argmin())} has {int(lengths.min())} regions; at least 1 is "
                "needed"
            )
        vectors: Tensor = self.image.pooling(local, lengths)
        return l2_norm_published(vectors, 1) if self.config.image_norm else vectors

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Caption vectors: ``int64 [C, L], int64 [C] -> float32 [C, D]``.

        Raises:
            InputError: A caption has more tokens than BERT has positions.
        """
        vectors: Tensor = self.text.gpool(self.text(token_ids, lengths), lengths)
        return l2_norm_published(vectors, 1) if self.config.text_norm else vectors

    def score(
        self,
        images: Tensor,
        token_ids: Tensor,
        lengths: Tensor,
        image_lengths: Tensor | None = None,
    ) -> Tensor:
        """Score all pairs.

        Args:
            images: As for `encode_images`.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including the tokens that frame a caption.
            image_lengths: As ``lengths`` of `encode_images`.

        Returns:
            ``float32 [N, C]``, higher is better.
        """
        texts = self.encode_texts(token_ids, lengths)
        return self.match(self.encode_images(images, image_lengths), texts)

    def match(self, images: Tensor, texts: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, D], [C, D] -> [N, C]``."""
        return images @ texts.T


class OfPictures(nn.Module):
    """A `VseInfty` with the preparation of its pictures."""

    def __init__(self, model: VseInfty, backbone: Backbone) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(backbone)
        self.model = model

    def score(self, pictures: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs.

        Args:
            pictures: Decoded pictures of one size, ``uint8 [N, H, W, 3]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``.

        Returns:
            ``float32 [N, C]``, higher is better.
        """
        return self.model.score(self.preprocessing(pictures), token_ids, lengths)
