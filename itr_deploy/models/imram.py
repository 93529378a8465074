"""IMRAM: Iterative Matching with Recurrent Attention Memory (Chen et al., CVPR 2020).

`Imram` is the published computation, a loop over captions. `ImramDeployment` gives the same
scores in the form that is exported: what depends on one item alone is computed in the encoders,
the steps are unrolled over all pairs at once, and the update after the last step is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.bundle.manifest import StoredTensor
from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import (
    load_checkpoint,
    load_weights,
    option,
    strip_prefix,
)
from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher, Workspace
from itr_deploy.models.layers import (
    MASKED,
    NORM_EPS,
    bigru_packed,
    bigru_two_pass,
    l2_norm,
    l2_norm_published,
    position_mask,
)

MODES = ("full_IMRAM", "text_IMRAM", "image_IMRAM")
ATTENTION_NORMS = ("clipped_l2norm", "l2norm", "softmax", "clipped", "no_norm")
CRASHING_NORMS = ("l1norm", "clipped_l1norm")
"""Accepted by the published program's option parser; its forward pass then fails."""


@dataclass(frozen=True)
class ImramConfig:
    """The options of a published IMRAM that decide its scores.

    Attributes:
        image_dim: Width Di of a region feature (``img_dim``).
        embed_dim: Width D of the joint space (``embed_size``).
        word_dim: Width of a word embedding.
        vocab_size: Number of words, the four special ones counted.
        num_layers: Layers of the GRU.
        mode: Which branches make the score (``model_mode``).
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
        if self.attention_norm in CRASHING_NORMS:
            raise CheckpointError(
                f"raw_feature_norm={self.attention_norm!r} has no defined score: the published "
                f"program fails on it; train with one of {', '.join(ATTENTION_NORMS)}"
            )
        if self.attention_norm not in ATTENTION_NORMS:
            raise CheckpointError(
                f"raw_feature_norm={self.attention_norm!r} is unknown; "
                f"known: {', '.join(ATTENTION_NORMS)}"
            )
        if self.mode not in MODES:
            raise CheckpointError(
                f"model_mode={self.mode!r} is unknown; known: {', '.join(MODES)}"
            )
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


class ImageEncoder(nn.Module):
    """``regions [B, R, Di] -> [B, R, D]``: one Linear."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.fc_local = nn.Linear(config.image_dim, config.embed_dim)

    def forward(self, regions: Tensor) -> Tensor:
        """Project the regions; the norm is the caller's."""
        embedded: Tensor = self.fc_local(regions)
        return embedded


class TextEncoder(nn.Module):
    """Word embedding and bidirectional GRU; the two ways to run it are in `layers`."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        self.rnn = nn.GRU(
            config.word_dim,
            config.embed_dim,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )


class Imram(nn.Module):
    """IMRAM as published. The state dict has the published keys, less ``module.``."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.config = config
        self.img_enc = ImageEncoder(config)
        self.txt_enc = TextEncoder(config)
        width = config.embed_dim
        for branch in ("t2i", "i2t"):
            self.add_module(f"linear_{branch}", nn.Linear(2 * width, width))
            self.add_module(f"gate_{branch}", nn.Linear(2 * width, width))

    def encode_images(self, regions: Tensor) -> Tensor:
        """Region embeddings: ``float32 [N, R, Di] -> [N, R, D]``."""
        embedded: Tensor = self.img_enc(regions)
        return l2_norm_published(embedded, -1) if self.config.image_norm else embedded

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Word embeddings: ``int64 [C, L], int64 [C] -> float32 [C, L, D]``, padding 0."""
        words = bigru_packed(self.txt_enc.rnn, self.txt_enc.embed(token_ids), lengths)
        return l2_norm_published(words, -1) if self.config.text_norm else words

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs as the published program does, one caption at a time.

        Args:
            regions: ``float32 [N, R, Di]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, ``<start>`` and ``<end>`` counted.

        Returns:
            ``float32 [N, C]``, higher is better.
        """
        branches = self.step_scores(regions, token_ids, lengths).values()
        return torch.stack([scores.sum(dim=0) for scores in branches]).sum(dim=0)

    def step_scores(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The score of every step: ``{"text" and/or "image": float32 [T, N, C]}``."""
        images = self.encode_images(regions)
        words = self.encode_texts(token_ids, lengths)
        by_branch: dict[str, list[Tensor]] = {}
        for caption, length in zip(words, lengths.tolist(), strict=True):
            repeated = caption[:length].expand(images.shape[0], length, -1)
            if self.config.has_text_branch:
                by_branch.setdefault("text", []).append(self._branch("t2i", repeated, images))
            if self.config.has_image_branch:
                by_branch.setdefault("image", []).append(self._branch("i2t", images, repeated))
        return {name: torch.stack(columns, dim=-1) for name, columns in by_branch.items()}

    def _branch(self, name: str, query: Tensor, context: Tensor) -> Tensor:
        """Step scores ``[T, N]`` of ``query [N, Lq, D]`` over ``context [N, Lc, D]``."""
        original, scores = query, []
        for _ in range(self.config.steps):
            attended = self._attend(query, context)
            scores.append(functional.cosine_similarity(original, attended, -1, NORM_EPS).mean(1))
            query = self._distil(name, query, attended)
        return torch.stack(scores)

    def _attend(self, query: Tensor, context: Tensor) -> Tensor:
        affinity = context @ query.transpose(1, 2)
        affinity = first_norm(self.config.attention_norm, affinity, 2, l2_norm_published)
        weights = torch.softmax(self.config.temperature * affinity, dim=1)
        return weights.transpose(1, 2) @ context

    def _distil(self, name: str, query: Tensor, attended: Tensor) -> Tensor:
        """Memory distillation, equations 8 to 10 of the paper."""
        both = torch.cat([query, attended], dim=-1)
        gate = torch.sigmoid(getattr(self, f"gate_{name}")(both))
        new = torch.tanh(getattr(self, f"linear_{name}")(both))
        updated = gate * query + (1 - gate) * new
        return l2_norm_published(updated, -1) if self.config.memory_norm else updated


def first_norm(
    kind: str, affinity: Tensor, dim: int, norm: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Normalise raw affinities along the query axis ``dim``; ``norm`` is the form of the L2 norm."""
    if kind == "softmax":
        return torch.softmax(affinity, dim=dim)
    if kind.startswith("clipped"):
        affinity = functional.leaky_relu(affinity, 0.1)
    return norm(affinity, dim) if kind.endswith("l2norm") else affinity


class ImramDeployment(DeployedMatcher):
    """The exported form of an `Imram`: equal scores, the least arithmetic a pair.

    A memory unit's Linear over ``[query ; attended]`` is split by columns into a query part and a
    context part. The context part commutes with the attention's weighted sum, so that with
    ``precompute="full"`` an encoder stores both parts; what is left per pair is the query part of
    the steps after the first. With ``"none"`` only the embeddings are stored.
    """

    def __init__(self, model: Imram, precompute: str) -> None:
        super().__init__()
        self.model = model
        self.precompute = precompute == "full" and model.config.steps > 1
        config = model.config
        width = config.embed_dim
        self.embedding_dim = width
        self.image_tensors = (
            StoredTensor(name="regions", width=width),
            *self._projections(query=config.has_image_branch, context=config.has_text_branch),
        )
        self.text_tensors = (
            StoredTensor(name="words", width=width),
            *self._projections(query=config.has_text_branch, context=config.has_image_branch),
        )
        live = 8 * width
        self.workspace = Workspace(
            per_word=live * config.has_text_branch,
            per_region=live * config.has_image_branch,
            per_word_region=8,
        )

    def _projections(self, *, query: bool, context: bool) -> tuple[StoredTensor, ...]:
        if not self.precompute:
            return ()
        sides = ["query"] * query + ["context"] * context
        names = [f"{side}_{unit}" for side in sides for unit in ("linear", "gate")]
        return tuple(StoredTensor(name=name, width=self.embedding_dim) for name in names)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the pooled embedding ``[B, D]``."""
        embedded = self.model.img_enc(regions)
        if self.model.config.image_norm:
            embedded = l2_norm(embedded, -1)
        projected = [self._project(spec.name, embedded, "i2t", "t2i")
                     for spec in self.image_tensors[1:]]
        return (embedded, *projected, l2_norm(embedded.mean(dim=1), -1))

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the pooled embedding ``[B, D]``."""
        encoder = self.model.txt_enc
        words = bigru_two_pass(encoder.rnn, encoder.embed(token_ids), lengths)
        if self.model.config.text_norm:
            words = l2_norm(words, -1)
        projected = [self._project(spec.name, words, "t2i", "i2t")
                     for spec in self.text_tensors[1:]]
        mean = words.sum(dim=1) / lengths.unsqueeze(1).to(words.dtype)
        return (words, *projected, l2_norm(mean, -1))

    def _project(self, name: str, x: Tensor, queries_in: str, serves_in: str) -> Tensor:
        """One stored projection; an item queries in one branch and is context in the other."""
        side, unit = name.split("_")
        branch = queries_in if side == "query" else serves_in
        return self._half(side, unit, branch, x)

    def _half(self, side: str, unit: str, branch: str, x: Tensor) -> Tensor:
        """The query or context columns of a memory unit's Linear; the query's part has the bias."""
        linear: nn.Linear = getattr(self.model, f"{unit}_{branch}")
        width = self.embedding_dim
        if side == "query":
            return functional.linear(x, linear.weight[:, :width], linear.bias)
        return functional.linear(x, linear.weight[:, width:])

    def match(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> Tensor:
        """Score every text with every image of its group, see `DeployedMatcher.match`."""
        text = dict(zip((spec.name for spec in self.text_tensors), texts, strict=True))
        image = dict(zip((spec.name for spec in self.image_tensors), images, strict=True))
        mask = position_mask(lengths, text["words"].shape[2])
        scores = []
        if self.model.config.has_text_branch:
            query, context = _Side(text, "words", mask), _Side(image, "regions", None)
            scores.append(self._branch("t2i", query, context).transpose(1, 2))
        if self.model.config.has_image_branch:
            query, context = _Side(image, "regions", None), _Side(text, "words", mask)
            scores.append(self._branch("i2t", query, context))
        return scores[0] if len(scores) == 1 else scores[0] + scores[1]

    def _branch(self, branch: str, query: _Side, context: _Side) -> Tensor:
        """Scores ``[B, Y, X]`` of query items ``[B, X, Lq, D]`` over contexts ``[B, Y, Lc, D]``.

        Arrays of pairs are laid out ``[B, Y, X * Lq, ...]``, the context's item outermost, so
        that every product with a context is one matrix product for all its queries.
        """
        config = self.model.config
        q0, c = query.embedded, context.embedded
        groups, items, q_len, width = q0.shape
        contexts, c_len = c.shape[1], c.shape[2]
        flat_q0 = q0.reshape(groups, 1, items * q_len, width)
        flat_c = c.reshape(groups, contexts * c_len, width)
        raw = flat_q0.squeeze(1) @ flat_c.transpose(1, 2)
        first = raw.reshape(groups, items * q_len, contexts, c_len).transpose(1, 2)
        q0_squared = (flat_q0 * flat_q0).sum(dim=-1)
        affinity, state, total = first, flat_q0, None
        for step in range(config.steps):
            weights = self._weights(affinity, query, context, items, q_len)
            attended = weights @ c
            cosine = self._cosine(weights, first, q0_squared, attended)
            step_score = _masked_mean(
                cosine.reshape(groups, contexts, items, q_len), query.mask
            )
            total = step_score if total is None else total + step_score
            if step + 1 < config.steps:
                state = self._distil(branch, step, query, context, state, weights, attended)
                affinity = state @ c.transpose(2, 3)
        assert total is not None
        return total

    def _weights(
        self, affinity: Tensor, query: _Side, context: _Side, items: int, q_len: int
    ) -> Tensor:
        """Attention weights ``[B, Y, X * Lq, Lc]`` from raw affinities of the same shape."""
        groups, contexts, _, c_len = affinity.shape
        kind = self.model.config.attention_norm
        logits = affinity.reshape(groups, contexts, items, q_len, c_len)
        if query.mask is not None and kind not in ("clipped", "no_norm"):
            real = query.mask[:, None, :, :, None]
            # A zero does not change an L2 norm, nor MASKED a softmax.
            fill = MASKED if kind == "softmax" else 0.0
            logits = torch.where(real, logits, fill)
        logits = first_norm(kind, logits, 3, l2_norm) * self.model.config.temperature
        if context.mask is not None:
            logits = torch.where(context.mask[:, :, None, None, :], logits, MASKED)
        return torch.softmax(logits, dim=-1).reshape(groups, contexts, items * q_len, c_len)

    @staticmethod
    def _cosine(weights: Tensor, first: Tensor, q0_squared: Tensor, attended: Tensor) -> Tensor:
        """Cosine of the original query with what it attended to, ``[B, Y, X * Lq]``.

        The dot product is taken over the context's positions instead of the embedding's width:
        ``q0 . sum_i P_i c_i = sum_i P_i (q0 . c_i)``, and ``first`` holds ``q0 . c_i``.
        """
        dot = (weights * first).sum(dim=-1)
        squared = q0_squared * (attended * attended).sum(dim=-1)
        return dot / torch.clamp(squared, min=NORM_EPS**2).sqrt()

    def _distil(
        self,
        branch: str,
        step: int,
        query: _Side,
        context: _Side,
        state: Tensor,
        weights: Tensor,
        attended: Tensor,
    ) -> Tensor:
        """The memory unit on all pairs: ``[B, Y or 1, X * Lq, D] -> [B, Y, X * Lq, D]``."""
        parts = []
        for unit in ("linear", "gate"):
            if self.precompute:
                from_context = weights @ context.tensors[f"context_{unit}"]
            else:
                from_context = self._half("context", unit, branch, attended)
            if step == 0 and self.precompute:
                from_query = query.tensors[f"query_{unit}"].reshape(state.shape)
            else:
                from_query = self._half("query", unit, branch, state)
            parts.append(from_query + from_context)
        new, gate = torch.tanh(parts[0]), torch.sigmoid(parts[1])
        updated = new + gate * (state - new)
        return l2_norm(updated, -1) if self.model.config.memory_norm else updated


class _Side:
    """One side of a branch: its tensors by name, the embedding among them, and its mask."""

    def __init__(self, tensors: Mapping[str, Tensor], embedded: str, mask: Tensor | None) -> None:
        self.tensors = tensors
        self.embedded = tensors[embedded]
        self.mask = mask


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``[B, Y, X, Lq]`` over the last axis, over ``mask [B, X, Lq]`` where given."""
    if mask is None:
        return values.mean(dim=-1)
    real = mask.unsqueeze(1).to(values.dtype)
    return (values * real).sum(dim=-1) / real.sum(dim=-1)


def load(checkpoint: Path, *, precompute: str = "full") -> TrainedMatcher:
    """Read a published IMRAM checkpoint.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        precompute: ``"full"`` or ``"none"``: what the encoders compute once for an item.

    Raises:
        CheckpointError: It is not an IMRAM checkpoint, or has options with no defined score.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    weights = strip_prefix(content["model"], "module.", source=checkpoint)
    config = _config(content["opt"], weights, checkpoint)
    model = Imram(config)
    load_weights(model, _plain_linear(weights), source=checkpoint, family="IMRAM")
    return TrainedMatcher(
        plain=model.eval(),
        deployed=ImramDeployment(model, precompute).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options={**vars(config), "precompute": precompute},
    )


def _config(opt: Any, weights: Mapping[str, Tensor], source: Path) -> ImramConfig:
    def get(name: str, kind: type, default: Any = None) -> Any:
        return option(opt, name, kind, source=source, default=default)

    if "linear_t2i.weight" not in weights:
        raise CheckpointError(
            f"{source}: not an IMRAM checkpoint: it has no linear_t2i.weight; "
            f"it starts with {next(iter(weights), 'nothing')!r}"
        )
    if not get("bi_gru", bool, True):
        raise CheckpointError(f"{source}: bi_gru=False is not a published IMRAM; retrain with it on")
    if get("precomp_enc_type", str, "basic") not in ("basic", "weight_norm"):
        raise CheckpointError(
            f"{source}: precomp_enc_type={opt.precomp_enc_type!r} is unknown; "
            "known: basic, weight_norm"
        )
    return ImramConfig(
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        word_dim=get("word_dim", int),
        vocab_size=get("vocab_size", int),
        num_layers=get("num_layers", int, 1),
        mode=get("model_mode", str),
        steps=get("iteration_step", int),
        temperature=get("lambda_softmax", float),
        attention_norm=get("raw_feature_norm", str),
        memory_norm=not get("no_IMRAM_norm", bool, False),
        image_norm=not get("no_imgnorm", bool, False),
        text_norm=not get("no_txtnorm", bool, False),
    )


def _plain_linear(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace a weight-normalised Linear, ``g v / ||v||`` with one norm for all, by its weight."""
    plain = dict(weights)
    if "img_enc.fc_local.weight_v" in plain:
        scale = plain.pop("img_enc.fc_local.weight_g")
        direction = plain.pop("img_enc.fc_local.weight_v")
        plain["img_enc.fc_local.weight"] = scale * direction / direction.norm()
    return plain
