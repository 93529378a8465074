"""VSRN as published: one vector an image, one a caption.

The state dict's keys are the published ones below ``image.`` and ``text.``, the two state dicts of
a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.layers import check_features, last_output, norm_over_regions
from itr_deploy.models.vsrn.config import LAYERS, VsrnConfig


class GraphLayer(nn.Module):
    """One graph layer over the regions, ``[N, D, R] -> [N, D, R]`` (section 3.2 of the paper)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Conv1d(width, width, 1)
        self.add_module("W", nn.Sequential(nn.Conv1d(width, width, 1), nn.BatchNorm1d(width)))
        self.theta = nn.Conv1d(width, width, 1)
        self.phi = nn.Conv1d(width, width, 1)

    def forward(self, regions: Tensor) -> Tensor:
        """Add to every region what its relations ``A = theta phi^T / R`` gather; no softmax."""
        relations = self.theta(regions).transpose(1, 2) @ self.phi(regions) / regions.shape[2]
        gathered = relations @ self.g(regions).transpose(1, 2)
        update: Tensor = self.get_submodule("W")(gathered.transpose(1, 2))
        return update + regions


class ImageEncoder(nn.Module):
    """``regions [N, R, Di] -> [N, D]``: a Linear, graph layers, and a GRU over the regions.

    The GRU reads the regions in the order of the feature file, so that their order matters.
    """

    def __init__(self, config: VsrnConfig) -> None:
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.fc = nn.Linear(config.image_dim, width)
        self.img_rnn = nn.GRU(width, width, batch_first=True)
        for number in range(1, LAYERS + 1):
            self.add_module(f"Rs_GCN_{number}", GraphLayer(width))
        if config.architecture == "f30k":
            self.bn = nn.BatchNorm1d(width)

    @property
    def layers(self) -> list[GraphLayer]:
        """The graph layers, first layer first."""
        return [getattr(self, f"Rs_GCN_{number}") for number in range(1, LAYERS + 1)]

    def regions(self, features: Tensor) -> Tensor:
        """Embed the regions of every image: ``[N, R, Di] -> [N, R, D]``.

        Raises:
            InputError: A feature that is normalised over the regions is 0 in all of them.
        """
        embedded: Tensor = self.fc(features)
        if self.config.architecture == "coco":
            embedded = self._normed(embedded)
        embedded = embedded.transpose(1, 2)
        for layer in self.layers:
            embedded = layer(embedded)
        return self._normed(embedded.transpose(1, 2))

    def forward(self, features: Tensor) -> Tensor:
        """Image vectors."""
        vector: Tensor = self.img_rnn(self.regions(features))[1][0]
        if self.config.architecture == "f30k":
            vector = self.bn(vector)
        if self.config.image_norm:
            vector = _unit(vector)
        return vector.abs() if self.config.absolute else vector

    @staticmethod
    def _normed(embedded: Tensor) -> Tensor:
        check_features(embedded)
        return norm_over_regions(embedded)


class TextEncoder(nn.Module):
    """``token_ids [C, L] -> [C, D]``: word embedding and a GRU of one direction."""

    def __init__(self, config: VsrnConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        self.rnn = nn.GRU(config.word_dim, config.embed_dim, config.num_layers, batch_first=True)

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """The top layer's output at every caption's last true token, normalised."""
        vector = _unit(last_output(self.rnn(self.embed(token_ids))[0], lengths))
        return vector.abs() if self.config.absolute else vector


class Vsrn(nn.Module):
    """VSRN as published: its two encoders and its score."""

    def __init__(self, config: VsrnConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)

    def encode_images(self, regions: Tensor) -> Tensor:
        """Image vectors: ``float32 [N, R, Di] -> [N, D]``.

        Raises:
            InputError: A feature that is normalised over the regions is 0 in all of them.
        """
        vectors: Tensor = self.image(regions)
        return vectors

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Caption vectors: ``int64 [C, L], int64 [C] -> float32 [C, D]``."""
        vectors: Tensor = self.text(token_ids, lengths)
        return vectors

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs.

        Args:
            regions: ``float32 [N, R, Di]``, in the order of the feature file.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including ``<start>`` and ``<end>``.

        Returns:
            ``float32 [N, C]``, higher is better.

        Raises:
            InputError: A feature that is normalised over the regions is 0 in all of them.
        """
        return self.match(self.encode_images(regions), self.encode_texts(token_ids, lengths))

    def match(self, images: Tensor, texts: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, D], [C, D] -> [N, C]``."""
        return order_score(images, texts) if self.config.measure == "order" else images @ texts.T


def order_score(images: Tensor, texts: Tensor) -> Tensor:
    """``-||max(0, text - image)||``, at most 0: ``[N, D], [C, D] -> [N, C]``."""
    columns = [-(text - images).clamp(min=0).pow(2).sum(dim=1).sqrt() for text in texts]
    return torch.stack(columns, dim=1)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1; there is no eps."""
    return vectors / vectors.pow(2).sum(dim=1, keepdim=True).sqrt()
