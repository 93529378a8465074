"""Families unlike most published ones: nothing about an item is stored by position.

Two score pairs, two are dual encoders, one of them with several vectors an image. They are written
as a family's author would write them, using only the contract.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.exporters.text import SPECIAL_WORDS
from itr_deploy.models import registry
from itr_deploy.models.checkpoints import load_checkpoint, load_weights
from itr_deploy.models.contract import (
    Deployed,
    DeployedMatcher,
    DualEncoder,
    PairOutput,
    StoredTensor,
    TrainedMatcher,
    Workspace,
)
from itr_deploy.models.family import Family
from itr_deploy.models.layers import MASKED, l2_norm, position_mask
from itr_deploy.models.options import FamilyOptions

IMAGE_DIM, WIDTH = 12, 8
WORDS = ("a", "dog", "cat", "red", "blue", "runs", "sits", "on", "grass", "house")
OTHER_WORDS = ("bird", "house", "red", "cat", "on", "runs", "sits", "grass", "dog", "<mask>")
"""As many, of which some are others and most have other numbers."""


def numbered(words: Sequence[str]) -> dict[str, int]:
    """A vocabulary, with the special words."""
    return {**SPECIAL_WORDS, **{word: 4 + place for place, word in enumerate(words)}}


VOCABULARY = numbered(WORDS)


class Weights(nn.Module):
    """What all toys are trained to."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(VOCABULARY), WIDTH)
        self.image = nn.Linear(IMAGE_DIM, WIDTH)
        self.text = nn.Linear(WIDTH, WIDTH)
        self.gate = nn.Linear(WIDTH, WIDTH)


class PlainVectors:
    """One vector an item, and a score that is not their dot product; pair by pair."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        texts = [self._text(row[:n]) for row, n in zip(token_ids, lengths, strict=True)]
        return torch.stack(
            [torch.stack([self._pair(self._image(own), text) for text in texts]) for own in regions]
        )

    def _image(self, regions: Tensor) -> Tensor:
        return functional.normalize(self.weights.image(regions.mean(dim=0)), dim=-1)

    def _text(self, ids: Tensor) -> Tensor:
        return functional.normalize(self.weights.text(self.weights.embed(ids).mean(dim=0)), dim=-1)

    def _pair(self, image: Tensor, text: Tensor) -> Tensor:
        return (image * text * torch.sigmoid(self.weights.gate(image + text))).sum()


class DeployedVectors(DeployedMatcher):
    """Exported `PlainVectors`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights
        self.embedding_dim = WIDTH
        self.image_tensors = (StoredTensor(name="vector", width=WIDTH, per_position=False),)
        self.text_tensors = (StoredTensor(name="sentence", width=WIDTH, per_position=False),)
        self.workspace = Workspace(per_word_region=3 * WIDTH)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        vector = l2_norm(self.weights.image(regions.mean(dim=1)), -1)
        return vector, vector

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        words = self.weights.embed(token_ids)
        real = position_mask(lengths, token_ids.shape[1]).unsqueeze(-1).to(words.dtype)
        mean = (words * real).sum(dim=1) / lengths.unsqueeze(1).to(words.dtype)
        sentence = l2_norm(self.weights.text(mean), -1)
        return sentence, sentence

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        text, image = texts[0].unsqueeze(2), images[0].unsqueeze(1)
        return (image * text * torch.sigmoid(self.weights.gate(image + text))).sum(dim=-1)


class PlainWords:
    """An image's vector attends to a text's words; pair by pair."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        images = [self.weights.image(own.mean(dim=0)) for own in regions]
        texts = [self.weights.embed(row[:n]) for row, n in zip(token_ids, lengths, strict=True)]
        return torch.stack([torch.stack([self._pair(i, words) for words in texts]) for i in images])

    def _pair(self, image: Tensor, words: Tensor) -> Tensor:
        attended = torch.softmax(words @ image, dim=0) @ words
        return functional.cosine_similarity(image, attended, dim=0)


class DeployedWords(DeployedMatcher):
    """Exported `PlainWords`: images without positions, texts with; all that a family may have."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights
        self.embedding_dim = WIDTH
        self.image_tensors = (StoredTensor(name="vector", width=WIDTH, per_position=False),)
        self.text_tensors = (
            StoredTensor(name="words", width=WIDTH),
            StoredTensor(name="sentence", width=WIDTH, per_position=False),
        )
        self.workspace = Workspace(per_word=2, cpu_pairs=16)
        self.pair_outputs = (PairOutput("attended", (WIDTH,)), PairOutput("peak", ()))
        self.prefilter_image_tensors = ("vector",)
        self.prefilter_text_tensors = ("sentence",)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        vector = self.weights.image(regions.mean(dim=1))
        return vector, l2_norm(vector, -1)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        words = self.weights.embed(token_ids)
        real = position_mask(lengths, token_ids.shape[1]).unsqueeze(-1).to(words.dtype)
        words = words * real
        sentence = words.sum(dim=1) / lengths.unsqueeze(1).to(words.dtype)
        return words, sentence, l2_norm(sentence, -1)

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        return self.match_outputs(texts, lengths, images)[0]

    def match_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        words, (image,) = texts[0], images
        logits = torch.einsum("btld,bid->btil", words, image)
        real = position_mask(lengths, words.shape[2]).unsqueeze(2)
        weights = torch.softmax(torch.where(real, logits, MASKED), dim=-1)
        attended = weights @ words
        one = l2_norm(image, -1).unsqueeze(1)
        scores = (one * l2_norm(attended, -1)).sum(dim=-1)
        return scores, attended, weights.amax(dim=-1)

    def prefilter(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> Tensor:
        return torch.einsum("btd,bid->bti", l2_norm(texts[0], -1), l2_norm(images[0], -1))


class PlainDual:
    """One vector an item, whose dot product is the score."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        vectors = PlainVectors(self.weights)
        images = torch.stack([vectors._image(own) for own in regions])
        texts = [vectors._text(row[:n]) for row, n in zip(token_ids, lengths, strict=True)]
        return images @ torch.stack(texts).T


class DeployedDual(DualEncoder):
    """Exported `PlainDual`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.vectors = DeployedVectors(weights)
        self.embedding_dim = WIDTH

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        return self.vectors.encode_images(regions)[1:]

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return self.vectors.encode_texts(token_ids, lengths)[1:]


class PlainViews:
    """Three vectors an image: its first region, its last, and their sum; the best one counts."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        vectors = PlainVectors(self.weights)
        texts = [vectors._text(row[:n]) for row, n in zip(token_ids, lengths, strict=True)]
        return torch.stack(
            [torch.stack([max(view @ text for view in self._views(own)) for text in texts])
             for own in regions]
        )  # fmt: skip

    def _views(self, regions: Tensor) -> list[Tensor]:
        first, last = self.weights.image(regions[0]), self.weights.image(regions[-1])
        return [functional.normalize(view, dim=-1) for view in (first, last, first + last)]


class DeployedViews(DeployedDual):
    """Exported `PlainViews`."""

    views = 3

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        embedded = self.vectors.weights.image(regions)
        first, last = embedded[:, 0], embedded[:, -1]
        views = torch.stack([first, last, first + last], dim=1)
        return (l2_norm(views, -1).flatten(1),)


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    """A toy's checkpoint, of random weights."""
    torch.manual_seed(seed)
    torch.save({"model": Weights().state_dict()}, path)
    return path


def write_vocabulary(path: Path, words: Sequence[str] = WORDS) -> Path:
    """A toy's vocabulary."""
    path.write_text(json.dumps({"word2idx": numbered(words)}))
    return path


def _loader(plain: Callable[[Weights], Any], deployed: Callable[[Weights], Deployed]) -> Any:
    def load(checkpoint: Path, _: FamilyOptions) -> TrainedMatcher:
        weights = Weights()
        state = load_checkpoint(checkpoint, expected=("model",))["model"]
        load_weights(weights, state, source=checkpoint, family="toy")
        return TrainedMatcher(
            plain=plain(weights.eval()),
            deployed=deployed(weights).eval(),
            image_dim=IMAGE_DIM,
            vocab_size=len(VOCABULARY),
        )

    return load


VECTORS = Family(
    name="toy_vectors",
    title="Vectors only",
    text="nltk_words",
    load=_loader(PlainVectors, DeployedVectors),
)
WORDS_ONLY = Family(
    name="toy_words",
    title="Images without positions",
    text="nltk_words",
    load=_loader(PlainWords, DeployedWords),
)
DUAL = Family(
    name="toy_dual",
    title="A product of vectors",
    text="nltk_words",
    load=_loader(PlainDual, DeployedDual),
)
VIEWS = Family(
    name="toy_views",
    title="The best product of several vectors an image",
    text="nltk_words",
    load=_loader(PlainViews, DeployedViews),
)
TOYS = (VECTORS, WORDS_ONLY, DUAL, VIEWS)


@contextmanager
def registered() -> Iterator[None]:
    """The toys are families like others."""
    with pytest.MonkeyPatch.context() as patch:
        own, families = registry.FAMILIES, (*registry.FAMILIES, *TOYS)
        for module in [module for module in sys.modules.values() if _names(module, own)]:
            patch.setattr(module, "FAMILIES", families)
        yield


def _names(module: ModuleType, families: object) -> bool:
    return getattr(module, "__name__", "").startswith("itr_deploy.") and (
        vars(module).get("FAMILIES") is families
    )
