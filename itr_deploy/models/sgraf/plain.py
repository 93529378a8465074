"""SGRAF as published: a loop over captions, with every step as the program writes it.

The state dict's keys are the published ones below ``image.``, ``text.`` and ``similarity.``, the
three state dicts of a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.layers import bigru_packed, gru_packed, l2_norm_published
from itr_deploy.models.sgraf.config import SgrafConfig
from itr_deploy.models.similarity.plain import GatedSum, Similarity


class ImageEncoder(nn.Module):
    """``regions [N, R, Di] -> [N, R, D]``: one Linear."""

    def __init__(self, config: SgrafConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Linear(config.image_dim, config.embed_dim)

    def forward(self, regions: Tensor) -> Tensor:
        """Embed the regions of every image."""
        embedded: Tensor = self.fc(regions)
        return l2_norm_published(embedded, -1) if self.config.image_norm else embedded


class TextEncoder(nn.Module):
    """``token_ids [C, L] -> [C, L, D]``: word embedding and GRU, over each caption's own words."""

    def __init__(self, config: SgrafConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        self.cap_rnn = nn.GRU(
            config.word_dim,
            config.embed_dim,
            config.num_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Embed captions; padded positions are 0."""
        run = bigru_packed if self.config.bidirectional else gru_packed
        words = run(self.cap_rnn, self.embed(token_ids), lengths)
        return l2_norm_published(words, -1) if self.config.text_norm else words


class GraphReasoning(nn.Module):
    """One step over a pair's similarity vectors, the nodes of a graph: ``[N, K, S] -> same``."""

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.graph_query_w = nn.Linear(sim_dim, sim_dim)
        self.graph_key_w = nn.Linear(sim_dim, sim_dim)
        self.sim_graph_w = nn.Linear(sim_dim, sim_dim)

    def forward(self, nodes: Tensor) -> Tensor:
        """Replace every node by a map of what it attends to among all of them."""
        queries, keys = self.graph_query_w(nodes), self.graph_key_w(nodes)
        edges = torch.softmax(queries @ keys.transpose(1, 2), dim=-1)
        return torch.relu(self.sim_graph_w(edges @ nodes))


class SgrafSimilarity(Similarity):
    """The score of every image with one caption, by either module."""

    def __init__(self, config: SgrafConfig) -> None:
        super().__init__(config.embed_dim, config.sim_dim, config.regions)
        if config.module == "SAF":
            self.SAF_module = GatedSum(config.sim_dim)
        else:
            reasoning = (GraphReasoning(config.sim_dim) for _ in range(config.steps))
            self.SGR_module = nn.ModuleList(reasoning)
        self.config = config

    @property
    def steps(self) -> list[GraphReasoning]:
        """SGR's steps, first step first."""
        return [getattr(self.SGR_module, str(number)) for number in range(self.config.steps)]

    def summary(self, vectors: Tensor) -> Tensor:
        """SAF: the gated sum of a pair's vectors. SGR: its global vector after all steps."""
        if self.config.module == "SAF":
            summed: Tensor = self.SAF_module(vectors)
            return summed
        for step in self.steps:
            vectors = step(vectors)
        return vectors[:, 0]


class Sgraf(nn.Module):
    """One module of SGRAF as published."""

    def __init__(self, config: SgrafConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        self.similarity = SgrafSimilarity(config)

    def encode_images(self, regions: Tensor) -> Tensor:
        """Region embeddings: ``float32 [N, R, Di] -> [N, R, D]``."""
        embedded: Tensor = self.image(regions)
        return embedded

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Word embeddings: ``int64 [C, L], int64 [C] -> float32 [C, L, D]``, padded positions 0."""
        words: Tensor = self.text(token_ids, lengths)
        return words

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs, one caption at a time.

        Args:
            regions: ``float32 [N, R, Di]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including ``<start>`` and ``<end>``.

        Returns:
            ``float32 [N, C]`` in 0 to 1, higher is better.
        """
        words = self.encode_texts(token_ids, lengths)
        return self.match(self.encode_images(regions), words, lengths)

    def match(self, images: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, R, D], [C, L, D], [C] -> [N, C]``."""
        return self.similarity.match(images, words, lengths)
