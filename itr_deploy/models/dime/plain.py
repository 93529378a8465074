"""DIME as published: a loop over captions, every cell computed for every pair."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.bert import build_bert, last_layer
from itr_deploy.models.dime.cells import DynamicLayer, Guide
from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.routes import CELLS, Routes

KERNELS = (1, 2, 3)


class Images(NamedTuple):
    """Encoded images: ``regions [N, R, D]`` and the image vector ``vector [N, D]``."""

    regions: Tensor
    vector: Tensor


class Texts(NamedTuple):
    """Encoded captions: ``words [C, W, D]``, the sentence ``vector [C, D]``, ``lengths [C]``."""

    words: Tensor
    vector: Tensor
    lengths: Tensor


class ImageEncoder(nn.Module):
    """One Linear for the regions; the image vector is their mean."""

    def __init__(self, config: DimeConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Linear(config.image_dim, config.embed_dim)
        self.bn = nn.BatchNorm1d(config.embed_dim)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """``regions [N, R, Di]`` -> region embeddings ``[N, R, D]``, image vectors ``[N, D]``."""
        embedded = self.fc(regions)
        vector = embedded.mean(dim=1)
        if self.config.refines_words:
            vector = self.bn(vector)
        if self.config.image_norm:
            vector = functional.normalize(vector, dim=-1)
        if self.config.image_abs:
            vector = vector.abs()
        return functional.normalize(embedded, dim=-1), vector


class TextEncoder(nn.Module):
    """BERT, convolutions over time with three widths, and a projection."""

    def __init__(self, config: DimeConfig) -> None:
        super().__init__()
        hidden, width = config.bert.hidden_size, config.embed_dim
        self.bert = build_bert(config.bert)
        self.fc = nn.Linear(hidden, width)
        self.convs1 = nn.ModuleList(nn.Conv2d(1, width, (size, hidden)) for size in KERNELS)
        self.mapping = nn.Linear(len(KERNELS) * width, width)

    def forward(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``int64 [C, W], int64 [C]`` -> word embeddings ``[C, W, D]``, sentences ``[C, D]``.

        Padded positions count as words: they are part of the maxima and means.
        """
        states = last_layer(self.bert, token_ids, lengths)
        phrases = torch.cat([self._convolved(states, conv) for conv in self.convs1], dim=-1)
        direct = self.fc(states)
        words = self.mapping(phrases) + direct
        sentence = self.mapping(phrases.amax(dim=1)) + direct.mean(dim=1)
        return functional.normalize(words, dim=-1), functional.normalize(sentence, dim=-1)

    @staticmethod
    def _convolved(states: Tensor, conv: nn.Module) -> Tensor:
        """One convolution over time, ``[C, W, H] -> [C, W, D]``, zero-padded."""
        assert isinstance(conv, nn.Conv2d)
        before = (conv.kernel_size[0] - 1) // 2
        padded = functional.pad(states, (0, 0, before, conv.kernel_size[0] // 2))
        return functional.relu(conv(padded.unsqueeze(1)).squeeze(3)).transpose(1, 2)


class Interaction(nn.Module):
    """Three layers of four cells, and the score. Keys as published, without ``path_mapping``."""

    def __init__(self, config: DimeConfig, routes: Routes) -> None:
        super().__init__()
        first, middle, last = routes.open
        self.dynamic_itr_l0 = DynamicLayer(config, first)
        self.dynamic_itr_l1 = DynamicLayer(config, middle)
        self.dynamic_itr_l2 = DynamicLayer(config, last)
        self.bn = nn.BatchNorm1d(config.embed_dim)

    @property
    def layers(self) -> list[DynamicLayer]:
        """The three layers in order."""
        return [self.dynamic_itr_l0, self.dynamic_itr_l1, self.dynamic_itr_l2]

    def forward(self, local: Tensor, guide: Guide) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Score pairs ``[n]``: refine one side's local features, compare them with the other side.

        Args:
            local: Regions or words ``[n or 1, P, D]``.
            guide: The other side, its tensors ``[n or 1, ...]``.

        Returns:
            Scores ``[n]`` and the gates of the layers, ``[n or 1, 4, 4]``, ``[n, 4, 4]`` and
            ``[n, 1, 4]``, path before cell.
        """
        inputs, gates0 = self.dynamic_itr_l0.aggregated([local] * len(CELLS), guide)
        inputs, gates1 = self.dynamic_itr_l1.aggregated(inputs, guide)
        refined, gates2 = self.dynamic_itr_l2.averaged(inputs, guide)
        z = self.bn(refined.transpose(1, 2)).transpose(1, 2)
        pooled = functional.normalize(z.mean(dim=1) + z.amax(dim=1), dim=-1)
        return (pooled * guide.vector).sum(dim=-1), (gates0, gates1, gates2)


class Dime(nn.Module):
    """DIME as published, for one direction; its three parts match the three state dicts.

    Args:
        config: The model's options.
        routes: The gates that may open; all of them in the published model.
    """

    def __init__(self, config: DimeConfig, routes: Routes | None = None) -> None:
        super().__init__()
        self.config = config
        self.routes = routes or Routes.everything()
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        self.interaction = Interaction(config, self.routes)

    def encode_images(self, regions: Tensor) -> Images:
        """``float32 [N, R, Di]`` -> regions ``[N, R, D]`` and image vectors ``[N, D]``."""
        return Images(*self.image(regions))

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Texts:
        """``int64 [C, L], int64 [C]`` -> words ``[C, W, D]`` and sentences ``[C, D]``.

        The ids are padded with 0, or cut, to the model's ``max_words`` W.
        """
        missing = self.config.max_words - token_ids.shape[1]
        words, vector = self.text(functional.pad(token_ids, (0, missing)), lengths)
        return Texts(words, vector, lengths)

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs as the published program does, one caption at a time.

        Args:
            regions: ``float32 [N, R, Di]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including ``[CLS]`` and ``[SEP]``.

        Returns:
            ``float32 [N, C]``, higher is better.
        """
        return self.score_with_paths(regions, token_ids, lengths)[0]

    def score_with_paths(
        self, regions: Tensor, token_ids: Tensor, lengths: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`score`, and the gates of every layer by name.

        Returns:
            Scores ``[N, C]``; ``paths_layer0 [items, 4, 4]``, of the images (``i2t``) or captions
            (``t2i``) alone, ``paths_layer1 [N, C, 4, 4]`` and ``paths_layer2 [N, C, 1, 4]``, path
            before cell; those of layers 0 and 1 are divided by their sum over cells.
        """
        return self.match(self.encode_images(regions), self.encode_texts(token_ids, lengths))

    def match(self, images: Images, texts: Texts) -> tuple[Tensor, dict[str, Tensor]]:
        """`score_with_paths` for encoded items."""
        columns, gates = [], []
        for number, length in enumerate(texts.lengths.tolist()):
            words, sentence = texts.words[number : number + 1], texts.vector[number : number + 1]
            if self.config.refines_words:
                column = self.interaction(words, Guide(images.regions, images.vector))
            else:
                guide = Guide(words[:, :length], sentence)
                column = self.interaction(images.regions, guide)
            columns.append(column[0])
            gates.append(column[1])
        first, second, third = zip(*gates, strict=True)
        return torch.stack(columns, dim=1), {
            "paths_layer0": torch.cat(first) if self.config.refines_words else first[0],
            "paths_layer1": torch.stack(second, dim=1),
            "paths_layer2": torch.stack(third, dim=1),
        }
