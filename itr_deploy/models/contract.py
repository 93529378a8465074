"""The family contract: what a family must provide so that the rest of the SDK can deploy it.

A family is a package whose `Family` names a function ``load(checkpoint, options)`` that returns a
`TrainedMatcher`. Graphs, parity, bundles, galleries and search are written once, on top of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from itr_deploy.bundle.manifest import (
    AttentionStep,
    Pipeline,
    Pruning,
    StoredTensor,
    Workspace,
)

__all__ = [
    "AttentionStep",
    "ChangedFrom",
    "Deployed",
    "DeployedMatcher",
    "DualEncoder",
    "PairOutput",
    "Pipeline",
    "PlainMatcher",
    "Pruning",
    "RerankNetwork",
    "StoredTensor",
    "TrainedMatcher",
    "TrainedReranker",
    "Workspace",
]


class PlainMatcher(Protocol):
    """The published computation in PyTorch: the reference for parity."""

    @property
    def score(self) -> Callable[..., Tensor]:
        """``float32 [N, R, Di], int64 [C, L], int64 [C] -> float32 [N, C]``, higher is better.

        Where boxes are taken (`Deployed.takes_boxes`), these and the pictures' sizes come after the
        regions. Where pictures are (`Deployed.takes_pictures`), they come in place of the regions.
        """
        ...


@dataclass(frozen=True)
class PairOutput:
    """An output of the matcher for every pair besides its score.

    Attributes:
        name: Its name among the matcher graphs' outputs.
        shape: Axes of the value of one pair.
    """

    name: str
    shape: tuple[int, ...]


class Deployed(nn.Module, ABC):
    """The exported form of any family: encoders for what depends on a single item.

    Attributes:
        image_tensors: What a gallery stores for an image besides its embedding, in the encoder's
            output order.
        text_tensors: What it stores for a text.
        embedding_dim: Width of the coarse embedding, the encoders' last output. Its dot product
            ranks a shortlist.
        regions: Number of regions when the model fixes it, else None.
        max_regions: Most regions of an image that the model takes, None for any number.
        text_length: Padded length when the model fixes it, else None.
        takes_boxes: Whether images are encoded by `encode_placed_images`.
        takes_pictures: Whether they are encoded by `encode_pictures`.
        max_tokens: Most tokens of a text that the model takes, if it bounds them otherwise than
            by a padded length; else None.
        padded_together: Number of consecutive texts that are padded to the longest of them and
            whose padding takes part in their encoding, None where padding never matters.
        pipeline: Widths of the shortlists of a bundle that was not tuned.
    """

    image_tensors: tuple[StoredTensor, ...] = ()
    text_tensors: tuple[StoredTensor, ...] = ()
    embedding_dim: int
    regions: int | None = None
    max_regions: int | None = None
    takes_boxes: bool = False
    takes_pictures: bool = False
    text_length: int | None = None
    max_tokens: int | None = None
    padded_together: int | None = None
    pipeline: Pipeline = Pipeline()

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the embedding ``[B, E]``.

        A family that takes neither boxes nor pictures overrides this.
        """
        raise NotImplementedError(f"{type(self).__name__} takes boxes too, or pictures")

    def encode_placed_images(
        self, regions: Tensor, boxes: Tensor, picture_sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """`encode_images` of a family that also reads where the regions are, and overrides this.

        Args:
            regions: ``float32 [B, R, Di]``.
            boxes: ``float32 [B, R, 4]``, x1, y1, x2, y2 in pixels.
            picture_sizes: ``float32 [B, 2]``, width and height in pixels.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no boxes")

    def encode_pictures(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """`encode_images` of a family that starts from pixels, and overrides this.

        Args:
            pictures: ``uint8 [B, H, W, 3]``, red, green, blue; H and W may be any.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no pictures")

    def encode_given(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Encode images by whichever of the three the family has."""
        if self.takes_pictures:
            return self.encode_pictures(*images)
        if self.takes_boxes:
            return self.encode_placed_images(*images)
        return self.encode_images(*images)

    @abstractmethod
    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the embedding ``[B, E]``."""


class DualEncoder(Deployed):
    """The exported form of a family whose score is the product of the embeddings.

    It has no matcher: a search is one product with the embeddings of all items, which are all that
    a gallery stores.

    Attributes:
        views: Number of vectors that an image is encoded to, of which the one with the largest
            product counts: its embedding is ``[B, views * E]``, one vector after the other. None
            where an image has one.
    """

    views: int | None = None
    pipeline: Pipeline = Pipeline(candidates=None)


class DeployedMatcher(Deployed):
    """The exported form of a family that scores pairs: encoders, and a matcher.

    Attributes:
        workspace: Estimate of the matcher's scratch memory per pair.
        pair_outputs: What `match_outputs` returns per pair besides its score.
        prefilter_image_tensors: Names of the image tensors that `prefilter` reads; empty if
            the family has no prefilter.
        prefilter_text_tensors: Names of the text tensors that it reads.
        refine_image_tensors: Names of the image tensors that `refine` reads; empty if the family
            has no refiner.
        refine_text_tensors: Names of the text tensors that it reads.
        attention_steps: What `match_and_attend` tells of, in order; empty if the family does not
            attend from words to regions or the other way round.
    """

    workspace: Workspace
    pair_outputs: tuple[PairOutput, ...] = ()
    prefilter_image_tensors: tuple[str, ...] = ()
    prefilter_text_tensors: tuple[str, ...] = ()
    refine_image_tensors: tuple[str, ...] = ()
    refine_text_tensors: tuple[str, ...] = ()
    attention_steps: tuple[AttentionStep, ...] = ()

    @abstractmethod
    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group.

        Args:
            texts: The `text_tensors`, each ``[B, T, L, width]`` (``[B, T, width]`` for one that
                is stored once per item).
            lengths: ``int64 [B, T]``; positions past a text's length must not matter, unless
                the model fixes the padded length.
            images: The `image_tensors`, each ``[B, I, R, width]`` or ``[B, I, width]``.

        Returns:
            ``[B, T, I]``.
        """

    def match_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """`match`, then the `pair_outputs`, each ``[B, T, I, *shape]``.

        A family with pair outputs overrides this.
        """
        return (self.match(texts, lengths, images),)

    def prefilter(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> Tensor:
        """A cheap partial score with which a search narrows a wide shortlist before `match`.

        A family that names prefilter tensors overrides this.

        Args:
            texts: The `prefilter_text_tensors`, in the axes of `match`.
            lengths: ``int64 [B, T]``.
            images: The `prefilter_image_tensors`.

        Returns:
            ``[B, T, I]``, higher is better.
        """
        raise NotImplementedError(f"{type(self).__name__} has no prefilter")

    def refine(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """A larger part of the score, with which a search narrows what `prefilter` leaves.

        A family that names refine tensors overrides this. Only worth it where it costs a fraction
        of `match` and orders a shortlist much as that does.

        Args:
            texts: The `refine_text_tensors`, in the axes of `match`.
            lengths: ``int64 [B, T]``.
            images: The `refine_image_tensors`.

        Returns:
            ``[B, T, I]``, higher is better.
        """
        raise NotImplementedError(f"{type(self).__name__} has no refiner")

    def match_and_attend(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        """`match_outputs`, and what attends to what in every pair at each of the `attention_steps`.

        A family that names steps overrides this. `itr_deploy.models.attending` brings the weights
        of a matcher into this form.

        Args:
            texts: The `text_tensors`, as for `match`.
            lengths: ``int64 [B, T]``.
            images: The `image_tensors`.

        Returns:
            The outputs. Weights ``[B, T, I, S, L, R]`` of the S steps: where words attend, those of
            each word add up to 1, where regions attend, those of each region, or to less where the
            model uses less of what was found. And how well each word is matched,
            ``[B, T, I, S, L]``: the cosine of a word with what it attends to, or the mean of those
            of the regions, weighted by how much they attend to the word. Neither means anything at
            padding.
        """
        raise NotImplementedError(f"{type(self).__name__} does not attend")

    def all_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """All that is told of a pair: what the graphs that score and explain pairs are traced from.

        `match_outputs`, then `prefilter` and `refine` if there are such, then what attends to what
        if there are `attention_steps`. A family whose matcher computes these anyway overrides this.

        Args:
            texts: The `text_tensors`, as for `match`.
            lengths: ``int64 [B, T]``.
            images: The `image_tensors`.
        """
        told: tuple[Tensor, ...] = ()
        if self.attention_steps:
            outputs, told = self.match_and_attend(texts, lengths, images)
        else:
            outputs = self.match_outputs(texts, lengths, images)
        if self.prefilter_image_tensors:
            own_texts = _named(self.prefilter_text_tensors, self.text_tensors, texts)
            own_images = _named(self.prefilter_image_tensors, self.image_tensors, images)
            outputs = (*outputs, self.prefilter(own_texts, lengths, own_images))
        if self.refine_image_tensors:
            own_texts = _named(self.refine_text_tensors, self.text_tensors, texts)
            own_images = _named(self.refine_image_tensors, self.image_tensors, images)
            outputs = (*outputs, self.refine(own_texts, lengths, own_images))
        return (*outputs, *told)


def _named(
    names: Sequence[str], specs: Sequence[StoredTensor], tensors: Sequence[Tensor]
) -> list[Tensor]:
    return [tensor for spec, tensor in zip(specs, tensors, strict=True) if spec.name in names]


@dataclass(frozen=True)
class ChangedFrom:
    """A matcher before its export changed it, and the data on which the two are compared.

    Attributes:
        before: The exported form without the change.
        pruning: What was left out, for the manifest, with the data on which it was chosen.
        data: Directory of that data, None if unknown.
        exact: Whether every score on that data must stay the same; if not, changes are reported.
        change: What was done, in words: "pruning".
        evidence: What names the data: "the route profile".
        remedy: How a user says where the data is.
    """

    before: DeployedMatcher
    pruning: Pruning
    data: Path | None
    exact: bool
    change: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class TrainedMatcher:
    """A loaded checkpoint: the published computation and its exported form.

    Attributes:
        plain: The published computation.
        deployed: The exported form.
        image_dim: Width of a region feature.
        vocab_size: Rows of the word embedding.
        options: What determined both, for the manifest, including `load`'s own options.
        text: Kind of the text processing, of a family whose checkpoints differ in it.
        text_options: What the text processing needs besides the vocabulary: arguments of its
            builder in `itr_deploy.exporters.text`.
        changed_from: Set if an option changed the published model; `plain` and `deployed` are then
            the changed ones.
    """

    plain: PlainMatcher
    deployed: Deployed
    image_dim: int
    vocab_size: int
    options: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    text_options: Mapping[str, Any] = field(default_factory=dict)
    changed_from: ChangedFrom | None = None


class RerankNetwork(nn.Module, ABC):
    """Re-scores the candidates of a query from similarities alone, in one direction.

    The published network is exported unchanged; parity compares the two.

    Attributes:
        pillars: L, the width of a block of affinities.
    """

    pillars: int

    @abstractmethod
    def forward(self, affinities: Tensor, edges: Tensor) -> Tensor:
        """Score a query's candidates.

        Args:
            affinities: ``float32 [B, K, 2L]``, the query's row comes first.
            edges: ``float32 [B, K, K]``.

        Returns:
            ``float32 [B, K - 1]``, higher is better.
        """


@dataclass(frozen=True)
class TrainedReranker:
    """A re-ranker's loaded checkpoint: one network per direction.

    Attributes:
        text_to_image: For a text query over images.
        image_to_text: For an image query over texts.
        heads: Number of attention heads in each.
    """

    text_to_image: RerankNetwork
    image_to_text: RerankNetwork
    heads: int

    @property
    def pillars(self) -> int:
        """L, which both networks share."""
        return self.text_to_image.pillars
