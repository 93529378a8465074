"""The exported form of IMRAM: equal scores with the least arithmetic per pair.

What depends on one item only is computed in the encoders, the steps are unrolled over all pairs
at once, and the update after the last step is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.attending import Told, of_regions, of_words, stacked
from itr_deploy.models.contract import (
    AttentionStep,
    DeployedMatcher,
    PairOutput,
    Pipeline,
    StoredTensor,
    Workspace,
)
from itr_deploy.models.first_norm import first_norm
from itr_deploy.models.imram.options import STEP_SCORES
from itr_deploy.models.imram.plain import Imram
from itr_deploy.models.layers import MASKED, NORM_EPS, bigru_two_pass, l2_norm, position_mask
from itr_deploy.models.precision import full_precision

TWO_STEPS = Pipeline(
    candidates=40, prefilter=300, image_query_candidates=200, image_query_prefilter=2000
)
CASCADE = Pipeline(
    candidates=18,
    refine=50,
    prefilter=300,
    image_query_candidates=30,
    image_query_refine=200,
    image_query_prefilter=2000,
)
"""Keeps 99 % of the exhaustive top 10 on the shapes world's test split (docs/performance.md)."""


class ImramDeployment(DeployedMatcher):
    """The exported form of an `Imram`: equal scores, the least arithmetic per pair.

    A memory unit's Linear over ``[query ; attended]`` is split by columns into a query part and a
    context part. The context part commutes with the attention's weighted sum, so that with
    ``precompute="full"`` an encoder stores both parts; what is left per pair is the query part of
    the steps after the first. With ``"none"`` only the embeddings are stored.

    Attributes:
        pair_outputs: With ``step_scores=True``, each step's part of the score, over both branches.
        prefilter_image_tensors: The regions alone: the first step needs no memory unit. With one
            step there is no prefilter: it would be hardly less than the matcher itself.
        refine_image_tensors: All. With fewer than three steps there is no refiner: the first two
            steps would be the matcher itself.
        attention_steps: Every step of every branch.
    """

    def __init__(self, model: Imram, precompute: str, step_scores: bool = False) -> None:
        super().__init__()
        self.model = model
        self.precompute = precompute == "full" and model.config.steps > 1
        config = model.config
        width = config.embed_dim
        self.embedding_dim = width
        self.image_tensors = (
            StoredTensor(name="regions", width=width, unit=model.config.image_norm or None),
            *self._projections(query=config.has_image_branch, context=config.has_text_branch),
        )
        self.text_tensors = (
            StoredTensor(name="words", width=width),
            *self._projections(query=config.has_text_branch, context=config.has_image_branch),
        )
        if step_scores:
            self.pair_outputs = (PairOutput(STEP_SCORES, (config.steps,)),)
        if config.steps > 1:
            self.prefilter_image_tensors, self.prefilter_text_tensors = ("regions",), ("words",)
            self.pipeline = TWO_STEPS
        if config.steps > 2:
            self.refine_image_tensors = tuple(spec.name for spec in self.image_tensors)
            self.refine_text_tensors = tuple(spec.name for spec in self.text_tensors)
            self.pipeline = CASCADE
        branches = ["text"] * config.has_text_branch + ["image"] * config.has_image_branch
        self.attention_steps = tuple(
            AttentionStep.model_validate({"step": 1 + step, "attends": side})
            for side in branches
            for step in range(config.steps)
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
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the pooled embedding."""
        # Most of the error of half precision came from here, and an item is encoded only once.
        with full_precision():
            embedded = self.model.img_enc(regions)
        if self.model.config.image_norm:
            embedded = l2_norm(embedded, -1)
        projected = [
            self._project(spec.name, embedded, "i2t", "t2i") for spec in self.image_tensors[1:]
        ]
        return (embedded, *projected, l2_norm(embedded.mean(dim=1), -1))

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the pooled embedding."""
        encoder = self.model.txt_enc
        with full_precision():  # as for images
            words = bigru_two_pass(encoder.rnn, encoder.embed(token_ids), lengths)
        if self.model.config.text_norm:
            words = l2_norm(words, -1)
        projected = [
            self._project(spec.name, words, "t2i", "i2t") for spec in self.text_tensors[1:]
        ]
        mean = words.sum(dim=1) / lengths.unsqueeze(1).to(words.dtype)
        return (words, *projected, l2_norm(mean, -1))

    def _project(self, name: str, x: Tensor, queries_in: str, serves_in: str) -> Tensor:
        """One stored projection; an item queries in one branch and is context in the other."""
        side, unit = name.split("_")
        branch = queries_in if side == "query" else serves_in
        return self._half(side, unit, branch, x)

    def _half(self, side: str, unit: str, branch: str, x: Tensor) -> Tensor:
        """The query or context columns of a memory unit's Linear; the query part holds the bias."""
        linear: nn.Linear = getattr(self.model, f"{unit}_{branch}")
        width = self.embedding_dim
        if side == "query":
            return functional.linear(x, linear.weight[:, :width], linear.bias)
        return functional.linear(x, linear.weight[:, width:])

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`."""
        return self.match_outputs(texts, lengths, images)[0]

    def match_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The scores, and each step's part of them if the graphs output it."""
        return self._outputs(self._all_steps(texts, lengths, images))

    def match_and_attend(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Told]:
        """What attends to what at every step: the words' steps first, then the regions'."""
        branches = self._all_steps(texts, lengths, images)
        return self._outputs(branches), _told(branches)

    def all_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The outputs of `match_outputs`, of `prefilter` and of `refine`, the attention."""
        branches = self._all_steps(texts, lengths, images)
        outputs = self._outputs(branches)
        if self.prefilter_image_tensors:
            outputs = (*outputs, _prefiltered(branches))
        if self.refine_image_tensors:
            outputs = (*outputs, self._refined(branches))
        return (*outputs, *_told(branches))

    def _all_steps(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> list[list[_Step]]:
        """Every step of every branch."""
        return self._steps(texts, lengths, images, self.model.config.steps)

    def _steps(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor], steps: int
    ) -> list[list[_Step]]:
        """The first ``steps`` steps of every branch."""
        text = dict(zip((spec.name for spec in self.text_tensors), texts, strict=True))
        image = dict(zip((spec.name for spec in self.image_tensors), images, strict=True))
        return self._branches(text, lengths, image, steps)

    def _outputs(self, branches: Sequence[Sequence[_Step]]) -> tuple[Tensor, ...]:
        scores = _sum([_sum(step.scores for step in steps) for steps in branches])
        if not self.pair_outputs:
            return (scores,)
        by_step = [_sum(one.scores for one in step) for step in zip(*branches, strict=True)]
        return scores, torch.stack(by_step, dim=-1)

    def prefilter(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> Tensor:
        """The first step's part of the score ``[B, T, I]``, but for lengths of attended vectors.

        These are half of the work for a cosine, and the order is much the same without them.
        """
        text, image = {"words": texts[0]}, {"regions": images[0]}
        return _prefiltered(self._branches(text, lengths, image, 1))

    def refine(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """The score ``[B, T, I]`` if the steps after the second gave what the second does.

        Nearly all of the matcher's work is the query part of the memory units, which is the same
        for all pairs until the first update. The first step's part is the prefilter's.
        """
        return self._refined(self._steps(texts, lengths, images, 2))

    def _refined(self, branches: Sequence[Sequence[_Step]]) -> Tensor:
        second = _sum(steps[1].scores for steps in branches)
        return _prefiltered(branches) + (self.model.config.steps - 1) * second

    def _branches(
        self, text: Mapping[str, Tensor], lengths: Tensor, image: Mapping[str, Tensor], steps: int
    ) -> list[list[_Step]]:
        """The first ``steps`` steps of every branch of the model."""
        config = self.model.config
        mask = position_mask(lengths, text["words"].shape[2])
        words = _Side(text, "words", mask, config.text_norm)
        regions = _Side(image, "regions", None, config.image_norm)
        branches = []
        if config.has_text_branch:
            found = self._branch("t2i", words, regions, steps)
            branches.append([one.by_words() for one in found])
        if config.has_image_branch:
            branches.append(self._branch("i2t", regions, words, steps))
        return branches

    def _branch(self, branch: str, query: _Side, context: _Side, steps: int) -> list[_Step]:
        """The first steps of ``[B, X, Lq, D]`` over ``[B, Y, Lc, D]``, scores ``[B, Y, X]``.

        Arrays of pairs are laid out ``[B, Y, X * Lq, ...]``, the context's item outermost, so
        that every product with a context is one matrix product for all its queries. What all steps
        share is made once: an operator more takes longer to trace than to fold away.
        """
        q0, c = query.embedded, context.embedded
        groups, items, q_len, width = q0.shape
        contexts, c_len = c.shape[1], c.shape[2]
        flat_q0 = q0.reshape(groups, 1, items * q_len, width)
        flat_c = c.reshape(groups, contexts * c_len, width)
        raw = flat_q0.squeeze(1) @ flat_c.transpose(1, 2)
        first = raw.reshape(groups, items * q_len, contexts, c_len).transpose(1, 2)
        q0_squared = (flat_q0 * flat_q0).sum(dim=-1)
        by_position = c.transpose(2, 3)
        real = None if query.mask is None else query.mask.unsqueeze(1)
        counted = None if real is None else real.to(first.dtype)
        real_queries = None if real is None else real.unsqueeze(4)
        real_context = None if context.mask is None else context.mask.unsqueeze(2).unsqueeze(2)
        affinity, state, found = first, flat_q0, []
        for step in range(steps):
            logits = affinity.reshape(groups, contexts, items, q_len, c_len)
            attention = self._attention(logits, real_queries, real_context)
            weights = attention.reshape(groups, contexts, items * q_len, c_len)
            attended = weights @ c
            # Taken over the context's positions instead of the embedding's width:
            # q0 . sum_i P_i c_i = sum_i P_i (q0 . c_i), and first holds q0 . c_i.
            dot = (weights * first).sum(dim=-1)
            cosine = _cosine(dot, q0_squared * (attended * attended).sum(dim=-1))
            near = cosine
            if context.unit:  # of a cosine between vectors of length 1 the product is left
                near = dot if query.unit else _cosine(dot, q0_squared)
            cosine, near = (
                values.reshape(groups, contexts, items, q_len) for values in (cosine, near)
            )
            score, near = (_counted_mean(values, counted) for values in (cosine, near))
            found.append(_Step(score, near, attention, cosine))
            if step + 1 < steps:
                state = self._distil(branch, step, query, context, state, weights, attended)
                affinity = state @ by_position
        return found

    def _attention(
        self, logits: Tensor, real_queries: Tensor | None, real_context: Tensor | None
    ) -> Tensor:
        """Attention weights ``[B, Y, X, Lq, Lc]`` from raw affinities of the same shape.

        With the masks of both sides in shapes that broadcast to it, None where all are real.
        """
        kind = self.model.config.attention_norm
        if real_queries is not None and kind not in ("clipped", "no_norm"):
            # A zero leaves an L2 norm unchanged, and MASKED leaves a softmax unchanged.
            fill = MASKED if kind == "softmax" else 0.0
            logits = torch.where(real_queries, logits, fill)
        logits = first_norm(kind, logits, 3, l2_norm) * self.model.config.temperature
        if real_context is not None:
            logits = torch.where(real_context, logits, MASKED)
        return torch.softmax(logits, dim=-1)

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
    """One side of a branch: its tensors by name, including the embedding, and its mask.

    Attributes:
        unit: Whether the rows of its embedding have length 1.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], embedded: str, mask: Tensor | None, unit: bool
    ) -> None:
        self.tensors = tensors
        self.embedded = tensors[embedded]
        self.mask = mask
        self.unit = unit


class _Step(NamedTuple):
    """One step of one branch.

    Attributes:
        scores: ``[B, T, I]``.
        near: The same, but for the lengths of what is attended, where that is a mean of rows of
            length 1.
        weights: ``[B, Y, X, Lq, Lc]``: X queries of Lq positions, Y contexts of Lc.
        cosines: ``[B, Y, X, Lq]``, of the queries with what they attend to.
        words_attend: Whether words attend; else regions do.
    """

    scores: Tensor
    near: Tensor
    weights: Tensor
    cosines: Tensor
    words_attend: bool = False

    def by_words(self) -> _Step:
        """The step with its scores as those of words over regions, ``[B, Y, X]`` before."""
        scores, near = self.scores.transpose(1, 2), self.near.transpose(1, 2)
        return self._replace(scores=scores, near=near, words_attend=True)


def _told(branches: Sequence[Sequence[_Step]]) -> Told:
    """What attends to what at all steps, as `DeployedMatcher.match_and_attend` says."""

    def told(step: _Step) -> Told:
        return (of_words if step.words_attend else of_regions)(step.weights, step.cosines)

    return stacked([told(step) for steps in branches for step in steps])


def _prefiltered(branches: Sequence[Sequence[_Step]]) -> Tensor:
    return _sum(steps[0].near for steps in branches)


def _cosine(dot: Tensor, squared: Tensor) -> Tensor:
    """Dot products over the square roots of what their lengths' squares give multiplied."""
    return dot / torch.clamp(squared, min=NORM_EPS**2).sqrt()


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor, added in order."""
    first, *others = terms
    total = first
    for term in others:
        total = total + term
    return total


def _counted_mean(values: Tensor, counted: Tensor | None) -> Tensor:
    """Mean of ``[B, Y, X, Lq]`` over the last axis, of those that count 1, or of all.

    Args:
        values: The values.
        counted: ``[B, 1, X, Lq]``, 1 or 0; None if all count.
    """
    if counted is None:
        return values.mean(dim=-1)
    return (values * counted).sum(dim=-1) / counted.sum(dim=-1)
