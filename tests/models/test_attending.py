"""What the exported forms tell of attention is what the plain, published models attend to.

Every published form has one softmax over a context's positions, axis 1 of ``[pairs, context,
queries]``, whenever one side attends to the other: they are recorded as the plain model scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher
from itr_deploy.models.dime.checkpoint import load as load_dime
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.dime.routes import CMRC, PATHS, Routes
from itr_deploy.models.imram.checkpoint import load as load_imram
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc
from itr_deploy.models.scan.checkpoint import load as load_scan
from itr_deploy.models.sgraf.checkpoint import load as load_sgraf
from tests.support import golden, lhsc, scan
from tests.support.dime import I2T, T2I, DimeCase
from tests.support.sgraf import MODULES, SgrafCase

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Golden:
    name: str
    load: Callable[[], TrainedMatcher]
    arrays: Callable[[], tuple[np.ndarray, ...]]

    @property
    def inputs(self) -> Inputs:
        regions, ids, lengths = map(torch.from_numpy, self.arrays())
        return regions, ids, lengths


def _case(load: Callable[..., TrainedMatcher], case: golden.Case) -> Golden:
    return Golden(
        case.name,
        partial(load, case.checkpoint),
        lambda: (case.regions, case.token_ids, case.lengths),
    )


def _sgraf(case: SgrafCase) -> Golden:
    arrays = lambda: (case.inputs["images"], *case.texts)  # noqa: E731
    return Golden(case.name, partial(load_sgraf, case.checkpoint), arrays)


def _dime(case: DimeCase) -> Golden:
    options = DimeOptions.checked("dime", {"bert_config": case.bert_config})
    return Golden(
        f"dime {case.direction}",
        partial(load_dime, case.checkpoint, options),
        lambda: (case.images, *case.texts),
    )


def _lhsc() -> Golden:
    def arrays() -> tuple[np.ndarray, ...]:
        given = lhsc.arrays("inputs")
        return given["images"], given["captions"], given["lengths"]

    return Golden("lhsc", partial(load_lhsc, lhsc.CHECKPOINT), arrays)


CASES = [
    *(_case(load_imram, case) for case in golden.CASES),
    *(_case(load_scan, case) for case in scan.CASES),
    *(_sgraf(case) for case in MODULES),
    _lhsc(),
]
DIMES = [_dime(case) for case in (T2I, I2T)]
named = partial(pytest.mark.parametrize, "case", ids=lambda case: case.name)


@torch.inference_mode()
def told(deployed: DeployedMatcher, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``[T, I, S, L, R]`` and word scores ``[T, I, S, L]``."""
    regions, ids, lengths = inputs
    texts = [t[None] for t in deployed.encode_texts(ids, lengths)[:-1]]
    images = [t[None] for t in deployed.encode_images(regions)[:-1]]
    outputs, found = deployed.match_and_attend(texts, lengths[None], images)
    expected = deployed.match_outputs(texts, lengths[None], images)
    assert all(map(torch.equal, outputs, expected))
    weights, scores = (array[0].numpy() for array in found)
    return weights, scores


@pytest.fixture
def softmaxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """What a plain model attends with, in order: ``[pairs, context, queries]`` each."""
    found: list[torch.Tensor] = []
    softmax = torch.softmax

    def recording(values: torch.Tensor, dim: int, **options: Any) -> torch.Tensor:
        weights = softmax(values, dim=dim, **options)
        if values.ndim == 3 and dim == 1 and values.shape[2] > 1:
            found.append(weights)
        return weights

    monkeypatch.setattr(torch, "softmax", recording)
    return found


def recorded(
    case: Golden, trained: TrainedMatcher, text: int, softmaxes: list[torch.Tensor]
) -> list[np.ndarray]:
    """What the plain model attends with for a text and every image, ``[I, L, R]`` by step."""
    regions, ids, lengths = case.inputs
    length = int(lengths[text])
    softmaxes.clear()
    with torch.inference_mode():
        trained.plain.score(regions, ids[text, None, :length], lengths[text, None])
    steps = trained.deployed.attention_steps
    assert len(softmaxes) == len(steps)
    by_words = [step.attends == "text" for step in steps]
    return [
        (weights.transpose(1, 2) if words else weights).numpy()
        for weights, words in zip(softmaxes, by_words, strict=True)
    ]


@named(argvalues=CASES)
def test_weights_are_what_the_plain_model_attends_with(
    case: Golden, softmaxes: list[torch.Tensor]
) -> None:
    trained = case.load()
    weights, _ = told(trained.deployed, case.inputs)
    for text, length in enumerate(case.inputs[2].tolist()):
        for step, expected in enumerate(recorded(case, trained, text, softmaxes)):
            np.testing.assert_allclose(weights[text, :, step, :length], expected, atol=1e-5)


@named(argvalues=DIMES)
def test_dimes_weights_are_the_plain_models_times_the_gate_behind_the_cell(
    case: Golden, softmaxes: list[torch.Tensor]
) -> None:
    trained, (regions, ids, lengths) = case.load(), case.inputs
    weights, _ = told(trained.deployed, case.inputs)
    with torch.inference_mode():
        _, paths = trained.plain.score_with_paths(regions, ids, lengths)
    assert [step.step for step in trained.deployed.attention_steps] == [1, 2, 3]
    for text, length in enumerate(lengths.tolist()):
        of_first = (text, None) if case.name.endswith("t2i") else (slice(None),)
        gates = [paths["paths_layer0"][of_first]]
        gates += [paths[f"paths_layer{layer}"][:, text] for layer in (1, 2)]
        for step, found in enumerate(recorded(case, trained, text, softmaxes)):
            gate = gates[step][..., CMRC].amax(dim=-1)[:, None, None].numpy()
            expected = (found * gate)[:, :length]
            np.testing.assert_allclose(weights[text, :, step, :length], expected, atol=1e-5)


def test_a_dime_of_which_no_cell_crosses_has_no_steps() -> None:
    every = Routes.everything().open
    routes = Routes.keeping(
        [[[cell != CMRC for cell in range(4)] for _ in range(paths)] for paths in PATHS]
    )
    assert routes.open != every
    case = DIMES[0].load()
    model = case.plain
    closed = type(model)(model.config, routes).eval()  # type: ignore[arg-type, call-arg, attr-defined]
    assert type(case.deployed)(closed).attention_steps == ()


@named(argvalues=[case for case in CASES if "step" in case.name])
def test_imrams_word_scores_are_what_its_published_step_scores_are_means_of(case: Golden) -> None:
    own = next(entry for entry in golden.CASES if entry.name == case.name)
    deployed = case.load().deployed
    weights, scores = told(deployed, case.inputs)
    lengths = case.inputs[2].numpy()
    for number, step in enumerate(deployed.attention_steps):
        expected = own.expected[f"step_scores_{step.attends}"][step.step - 1]
        for text, length in enumerate(lengths):
            of_words = scores[text, :, number, :length]
            if step.attends == "text":
                found = of_words.mean(axis=1)
            else:  # what every region gives to the words that it attends to
                shares = weights[text, :, number, :length].sum(axis=2)
                found = (of_words * shares).sum(axis=1) / weights.shape[4]
            np.testing.assert_allclose(found, expected[:, text], atol=1e-5)


@named(argvalues=[case for case in CASES if case.name in {c.name for c in scan.CASES}])
def test_scans_weights_are_the_published_programs(case: Golden) -> None:
    own = next(entry for entry in scan.CASES if entry.name == case.name)
    deployed = case.load().deployed
    weights, scores = told(deployed, case.inputs)
    published = own.expected["attention_caption1"]  # [images, context, queries] of one caption
    attended = own.expected["attended_caption1"]
    words = deployed.attention_steps[0].attends == "text"
    length = published.shape[2] if words else published.shape[1]
    (text,) = {1} & set(np.flatnonzero(own.lengths == length).tolist())
    expected = published.transpose(0, 2, 1) if words else published
    np.testing.assert_allclose(weights[text, :, 0, :length], expected, atol=1e-5)
    if words:
        query = own.expected["word_embeddings"][text, :length]
        norms = np.linalg.norm(query, axis=-1) * np.linalg.norm(attended, axis=-1)
        cosines = (query * attended).sum(axis=-1) / norms
        np.testing.assert_allclose(scores[text, :, 0, :length], cosines, atol=1e-5)


@named(argvalues=[_sgraf(MODULES[0]), _lhsc()])
def test_a_words_score_is_the_cosine_with_what_it_attends_to(case: Golden) -> None:
    trained = case.load()
    weights, scores = told(trained.deployed, case.inputs)
    regions, ids, lengths = case.inputs
    with torch.inference_mode():
        images = trained.plain.encode_images(regions).numpy()  # type: ignore[attr-defined]
        words = trained.plain.encode_texts(ids, lengths).numpy()  # type: ignore[attr-defined]
    for text, length in enumerate(lengths.tolist()):
        attended = weights[text, :, 0, :length] @ images
        own = words[text, :length]
        norms = np.linalg.norm(attended, axis=-1) * np.linalg.norm(own, axis=-1)
        expected = (attended * own).sum(axis=-1) / norms
        np.testing.assert_allclose(scores[text, :, 0, :length], expected, atol=1e-5)
