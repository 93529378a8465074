"""What matched: which words of a text and which regions of an image found each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import AttentionStep
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import InputError, UsageError
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.values import shown

ATTENDS = {"text": "words attend to regions", "image": "regions attend to words"}
"""Who attends to what, in words."""


@dataclass(frozen=True, eq=False)
class Attention:
    """What attends to what at one step of a model.

    Attributes:
        step: Its number among the model's steps or layers, from 1.
        attends: ``"text"`` where every word attends to the regions, ``"image"`` where every region
            attends to the words.
        weights: ``float32 [words, regions]``. Those of a word add up to 1 where words attend, those
            of a region where regions attend; for DIME, to the gate that lets them into the score.
        word_scores: ``float32 [words]``, how well each word is matched, at most 1: its cosine with
            what it attends to, or the mean of those of the regions, weighted by how much they
            attend to the word.
    """

    step: int
    attends: Modality
    weights: NDArray[np.float32]
    word_scores: NDArray[np.float32]

    @property
    def is_closed(self) -> bool:
        """Whether nothing of it enters the score: DIME's gates may be closed for a pair."""
        return not self.weights.any()


@dataclass(frozen=True, eq=False)
class Explanation:
    """What matched between a text and an image, at one of the model's steps.

    Attributes:
        words: The text as the model reads it, with the tokens that it adds. Words that it does not
            know are there as they were given.
        regions: Number R of the image's regions.
        shown: What attends to what, at the step that was asked for.
        steps: The same of all steps.
        score: The score of the pair.
        exact: Whether these weights are PyTorch's, within the tolerance that the export's gate
            checked: of a float32 bundle, with items in float32. Else half precision, int8 products
            or the gallery's storage type round what they are made of. So they do the score's.
        placed: Where the regions are, None where that is not known.

    Examples:
        >>> from itr_deploy import Retriever
        >>> explanation = Retriever.load("bundle/", gallery="gallery/").explain("a dog", "a")
        >>> explanation.words, explanation.attention.shape
        (('<start>', 'a', 'dog', '<end>'), (4, 4))
    """

    words: tuple[str, ...]
    regions: int
    shown: Attention
    steps: tuple[Attention, ...]
    score: float
    exact: bool
    placed: Placed | None = None

    @property
    def attention(self) -> NDArray[np.float32]:
        """The weights of the step, ``float32 [words, regions]``, see `Attention`."""
        return self.shown.weights

    @property
    def word_scores(self) -> NDArray[np.float32]:
        """How well each word is matched at the step, ``float32 [words]``, see `Attention`."""
        return self.shown.word_scores

    @property
    def step(self) -> int:
        """The step's number, from 1."""
        return self.shown.step

    def strongest(self, word: int, count: int = 1) -> NDArray[np.int64]:
        """The regions with the largest weights of a word, largest first.

        Args:
            word: Its place in ``words``.
            count: How many regions.

        Raises:
            UsageError: There is no such word.
        """
        words = len(self.words)
        if not isinstance(word, Integral) or not -words <= word < words:
            raise UsageError(
                f"word={shown(word)} must be a place in words, 0 to {words - 1}; words.index() "
                "gives a word's"
            )
        order: NDArray[np.int64] = np.argsort(-self.attention[word], kind="stable")
        return order[:count]


def chosen(
    steps: Sequence[Attention], step: int | None, attends: Modality | None, what: str
) -> Attention:
    """The step that was asked for; by default the last one that enters the score.

    Where both sides attend, that is the words', unless regions are asked for.

    Args:
        steps: All of the model's.
        step: A step's number.
        attends: Who attends.
        what: Names the bundle, for messages.

    Raises:
        InputError: There is no such step, or nothing of it enters the score.
    """
    own = [one for one in steps if attends in (None, one.attends)]
    if attends is None:
        own = [one for one in own if one.attends == own[0].attends]
    if step is not None:
        own = [one for one in own if one.step == step]
    if not own:
        there = ", ".join(f"step={one.step}, attends={one.attends!r}" for one in steps)
        raise InputError(f"step={step!r}, attends={attends!r}: {what} has {there}")
    live = [one for one in own if not one.is_closed]
    if not live:
        raise InputError(
            f"nothing attends in this pair: {what} closes its gates behind the attention here, so "
            "that no part of it enters the score; other pairs may open them"
        )
    return live[-1]


def of_steps(
    record: Sequence[AttentionStep], weights: NDArray[np.float32], scores: NDArray[np.float32]
) -> tuple[Attention, ...]:
    """All steps of one pair, from ``[steps, words, regions]`` and ``[steps, words]``."""
    return tuple(
        Attention(step.step, step.attends, *own)
        for step, *own in zip(record, weights, scores, strict=True)
    )
