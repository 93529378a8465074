from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from itr_deploy.models.first_norm import FIRST_NORMS
from itr_deploy.models.layers import l2_norm
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.scan.checkpoint import load
from itr_deploy.models.scan.config import AGGREGATIONS, DIRECTIONS, ScanConfig
from itr_deploy.models.scan.deployed import GRAM_COLUMNS, ScanDeployment
from itr_deploy.models.scan.pairs import aggregate
from itr_deploy.models.scan.plain import Scan, published_cosine
from tests.support.imram import deployed_scores, random_items
from tests.support.scan import (
    CASES,
    I2T,
    ScanCase,
    random_model,
    score_of_pair,
)

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
BOTH = pytest.mark.parametrize("direction", DIRECTIONS)
Items = tuple[Tensor, Tensor, Tensor]


@EVERY_CASE
def test_plain_embeddings_and_scores_are_the_published_ones(case: ScanCase) -> None:
    plain = load(case.checkpoint).plain
    regions, ids, lengths = case.tensors
    with torch.inference_mode():
        images, words = plain.encode_images(regions), plain.encode_texts(ids, lengths)
        scores = plain.score(regions, ids, lengths)
    np.testing.assert_allclose(images, case.expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(words, case.expected["word_embeddings"], atol=1e-5)
    np.testing.assert_allclose(scores, case.scores, atol=1e-5)


@EVERY_CASE
def test_plain_attention_and_attended_vectors_are_the_published_ones(case: ScanCase) -> None:
    """The attended vector is not normalised, which no score shows."""
    plain = load(case.checkpoint).plain
    regions, ids, lengths = case.tensors
    with torch.inference_mode():
        images = plain.encode_images(regions)
        words = plain.encode_texts(ids, lengths)[1, : lengths[1]].expand(len(images), -1, -1)
        query, context = (words, images) if plain.config.direction == "t2i" else (images, words)
        weights = plain.attend(query, context)
    np.testing.assert_allclose(weights, case.expected["attention_caption1"], atol=1e-5)
    attended = weights.transpose(1, 2) @ context
    np.testing.assert_allclose(attended, case.expected["attended_caption1"], atol=1e-5)


@EVERY_CASE
def test_deployed_embeddings_and_scores_are_the_published_ones(case: ScanCase) -> None:
    deployed = load(case.checkpoint).deployed
    regions, ids, lengths = case.tensors
    with torch.inference_mode():
        images, words = deployed.encode_images(regions)[0], deployed.encode_texts(ids, lengths)[0]
    np.testing.assert_allclose(images, case.expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(words, case.expected["word_embeddings"], atol=1e-5)
    scores = deployed_scores(deployed, regions, ids, lengths)
    np.testing.assert_allclose(scores, case.scores, atol=1e-5)


def small_config(**options: Any) -> ScanConfig:
    sizes = {"image_dim": 5, "embed_dim": 6, "word_dim": 4, "vocab_size": 11}
    return ScanConfig(**{**sizes, **options})


@torch.inference_mode()
def plain_scores(model: Scan, items: Items) -> Tensor:
    """The published computation with the norms' guard as the exported form has it.

    ``+ 1e-8`` and "at least 1e-8" differ where a norm is tiny; what is left is the arithmetic.
    """
    with patch("itr_deploy.models.scan.plain.l2_norm_published", l2_norm):
        return model.score(*items)


def written_out(model: Scan, items: Items) -> list[list[float]]:
    regions, ids, lengths = items
    with torch.inference_mode():
        images, texts = model.encode_images(regions), model.encode_texts(ids, lengths)
    return [
        [
            score_of_pair(model.config, image, words[:length])
            for words, length in zip(texts.numpy(), lengths.tolist(), strict=True)
        ]
        for image in images.numpy()
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
@BOTH
def test_every_option_is_computed_as_the_paper_writes_it(
    direction: str, attention_norm: str, aggregation: str
) -> None:
    config = small_config(
        direction=direction, attention_norm=attention_norm, aggregation=aggregation
    )
    model = random_model(config)
    items = random_items(config, images=3, regions=4, lengths=[5, 2, 3], padding=2)
    with torch.inference_mode():
        np.testing.assert_allclose(model.score(*items), written_out(model, items), atol=1e-9)
    scores = deployed_scores(ScanDeployment(model), *items)
    np.testing.assert_allclose(scores, plain_scores(model, items), rtol=0, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_options_and_shapes_are_deployed_as_published(data: st.DataObject) -> None:
    config = small_config(
        direction=data.draw(st.sampled_from(DIRECTIONS)),
        attention_norm=data.draw(st.sampled_from(FIRST_NORMS)),
        temperature=data.draw(st.sampled_from([1.0, 4.0, 9.0, 200.0, -3.0])),
        aggregation=data.draw(st.sampled_from(AGGREGATIONS)),
        sharpness=data.draw(st.sampled_from([1.0, 6.0, 20.0, 1000.0, -6.0])),
        num_layers=data.draw(st.integers(1, 2)),
        bidirectional=data.draw(st.booleans()),
        image_norm=data.draw(st.booleans()),
        text_norm=data.draw(st.booleans()),
    )
    items = random_items(
        config,
        images=data.draw(st.integers(1, 4)),
        regions=data.draw(st.sampled_from([1, 2, 7, 36, 37, 40])),
        lengths=data.draw(
            st.lists(st.integers(1, 8) | st.integers(31, 35), min_size=1, max_size=4)
        ),
        padding=data.draw(st.integers(0, 3)),
        seed=data.draw(st.integers(0, 1000)),
    )
    model = random_model(config, seed=data.draw(st.integers(0, 1000)))
    scores = deployed_scores(ScanDeployment(model), *items)
    np.testing.assert_allclose(scores, plain_scores(model, items), rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    direction=st.sampled_from(DIRECTIONS),
    attention_norm=st.sampled_from(FIRST_NORMS),
    aggregation=st.sampled_from(AGGREGATIONS),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    padding=st.integers(0, 40),
    order=st.randoms(use_true_random=False),
)
def test_a_pair_scores_the_same_alone_in_any_order_and_with_any_padding(
    direction: str,
    attention_norm: str,
    aggregation: str,
    lengths: list[int],
    padding: int,
    order: Any,
) -> None:
    config = small_config(
        direction=direction, attention_norm=attention_norm, aggregation=aggregation
    )
    deployed = ScanDeployment(random_model(config))
    regions, ids, counts = random_items(config, 2, 4, lengths, padding=0)
    batch = deployed_scores(deployed, regions, ids, counts)

    padded = torch.nn.functional.pad(ids, (0, padding))
    padded[torch.arange(padded.shape[1]) >= counts.unsqueeze(1)] = 7
    assert_same(deployed_scores(deployed, regions, padded, counts), batch)

    places = list(range(len(lengths)))
    order.shuffle(places)
    shuffled = deployed_scores(deployed, regions.flip(0), ids[places], counts[places])
    assert_same(shuffled, batch.flip(0)[:, places])

    for text, length in enumerate(lengths):
        alone = regions[1:], ids[text : text + 1, :length], counts[text : text + 1]
        assert_same(deployed_scores(deployed, *alone), batch[1:, text : text + 1])


def assert_same(scores: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(scores, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
@BOTH
@torch.inference_mode()
def test_what_is_stored_beyond_a_texts_length_never_reaches_a_score(
    direction: str, attention_norm: str
) -> None:
    config = small_config(direction=direction, attention_norm=attention_norm, text_norm=False)
    deployed = ScanDeployment(random_model(config))
    regions, ids, lengths = random_items(config, 3, 4, lengths=[6, 2, 4], padding=3)
    images = [tensor.unsqueeze(0) for tensor in deployed.encode_images(regions)[:-1]]
    texts = [tensor.unsqueeze(0) for tensor in deployed.encode_texts(ids, lengths)[:-1]]
    scores = deployed.match(texts, lengths.unsqueeze(0), images)
    beyond = torch.arange(ids.shape[1]) >= lengths.unsqueeze(1)
    for tensor in texts:
        tensor[0, beyond] = 50.0
    assert_same(deployed.match(texts, lengths.unsqueeze(0), images), scores)


@BOTH
def test_a_pair_with_nothing_in_it_scores_finitely(direction: str) -> None:
    """A region and words of zeros stay zeros: the guards of every division hold."""
    config = small_config(direction=direction)
    model = random_model(config)
    torch.nn.init.zeros_(model.image.fc.bias)
    regions, ids, lengths = random_items(config, 2, 3, lengths=[4, 2], padding=1)
    regions[0, 1], regions[1] = 0, 0
    scores = deployed_scores(ScanDeployment(model), regions, ids, lengths)
    with torch.inference_mode():
        embedded = model.encode_images(regions)
        assert (embedded[0, 1] == 0).all()
        plain = model.score(regions, ids, lengths)
    assert torch.isfinite(plain).all()
    torch.testing.assert_close(scores, plain, rtol=0, atol=1e-7)
    queries = lengths if direction == "t2i" else torch.tensor([3, 3])
    torch.testing.assert_close(plain[1], queries.double().log() / config.sharpness)


def test_the_eps_of_the_published_norm_is_added_to_the_norm() -> None:
    model = random_model(small_config())
    with torch.inference_mode():
        model.image.fc.weight.zero_()
        model.image.fc.bias.fill_(1e-8 / 6**0.5)
        halved = model.encode_images(torch.zeros(1, 1, 5, dtype=torch.float64))
    torch.testing.assert_close(halved.norm(), torch.tensor(0.5, dtype=torch.float64))


def test_the_product_of_both_norms_is_clamped_not_each() -> None:
    tiny, large = torch.tensor([1e-9, 0.0]).double(), torch.tensor([1e4, 0.0]).double()
    torch.testing.assert_close(published_cosine(tiny, large), torch.tensor(1.0).double())
    torch.testing.assert_close(published_cosine(tiny, tiny), torch.tensor(1e-10).double())


@BOTH
def test_tiny_embeddings_are_deployed_with_the_product_clamped(direction: str) -> None:
    config = small_config(direction=direction, image_norm=False, text_norm=False)
    model = random_model(config)
    items = random_items(config, 2, 3, lengths=[4, 2], padding=1)
    for scale in (1e-3, 1e-7, 1e-9):
        with torch.no_grad():
            model.image.fc.weight.mul_(scale)
            model.image.fc.bias.mul_(scale)
        scores = deployed_scores(ScanDeployment(model), *items)
        torch.testing.assert_close(scores, plain_scores(model, items), rtol=1e-6, atol=1e-12)


def test_a_sharp_sum_of_exponentials_does_not_overflow() -> None:
    config = small_config(sharpness=1e4)
    cosines = torch.tensor([[[[1.0, 0.5, -1.0]]]])
    assert aggregate(config, cosines).item() == pytest.approx(1)
    assert aggregate(config, -cosines).item() == pytest.approx(1)


def test_a_longer_caption_may_score_above_1() -> None:
    config = small_config()
    assert aggregate(config, torch.ones(1, 1, 1, 12)).item() == pytest.approx(1 + np.log(12) / 6)


@pytest.mark.parametrize(
    ("direction", "images", "texts"),
    [("t2i", ["regions", "gram"], ["words"]), ("i2t", ["regions"], ["words", "gram"])],
)
def test_the_side_that_is_attended_to_stores_its_gram_matrix(
    direction: str, images: list[str], texts: list[str]
) -> None:
    deployed = ScanDeployment(random_model(small_config(direction=direction)))
    assert [tensor.name for tensor in deployed.image_tensors] == images
    assert [tensor.name for tensor in deployed.text_tensors] == texts
    assert [tensor.unit for tensor in deployed.image_tensors] == [True, None][: len(images)]


@pytest.mark.parametrize("regions", [1, 36, 40])
@torch.inference_mode()
def test_what_is_stored_are_the_first_columns_of_the_gram_matrix(regions: int) -> None:
    deployed = ScanDeployment(random_model(small_config()))
    vectors, gram, _ = deployed.encode_images(torch.randn(2, regions, 5, dtype=torch.float64))
    columns = GRAM_COLUMNS["t2i"]
    assert gram.shape == (2, regions, columns)
    whole = vectors @ vectors.transpose(1, 2)
    torch.testing.assert_close(gram[:, :, :regions], whole[:, :, :columns])
    assert (gram[:, :, regions:] == 0).all()


def test_only_the_regions_of_normalised_images_have_length_1() -> None:
    deployed = ScanDeployment(random_model(small_config(image_norm=False)))
    assert deployed.image_tensors[0].unit is None


@BOTH
@torch.inference_mode()
def test_half_precision_rounds_the_affinities_alone(direction: str) -> None:
    model = random_model(small_config(direction=direction)).float()
    deployed = ScanDeployment(model)
    config = model.config
    regions, ids, lengths = random_items(config, 2, 4, lengths=[4, 2], padding=1)
    regions = regions.float()
    plain = deployed.encode_images(regions), deployed.encode_texts(ids, lengths)
    scores = deployed_scores(deployed, regions, ids, lengths)
    with matrix_precision("float16"):
        halved = deployed.encode_images(regions), deployed.encode_texts(ids, lengths)
        rounded = deployed_scores(deployed, regions, ids, lengths)
    for before, after in zip(plain[0] + plain[1], halved[0] + halved[1], strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert 0 < (rounded - scores).abs().max() < 2e-3


@torch.inference_mode()
def test_affinities_that_nothing_bounds_stay_float32() -> None:
    model = random_model(small_config(image_norm=False, text_norm=False)).float()
    model.image.fc.weight.mul_(1e6)
    items = random_items(model.config, 2, 4, lengths=[4, 2], padding=1)
    items = (items[0].float(), *items[1:])
    scores = deployed_scores(ScanDeployment(model), *items)
    with matrix_precision("float16"):
        torch.testing.assert_close(deployed_scores(ScanDeployment(model), *items), scores)


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    assert load(I2T.checkpoint).options == {
        "image_dim": 32,
        "embed_dim": 24,
        "word_dim": 12,
        "vocab_size": 48,
        "direction": "i2t",
        "attention_norm": "softmax",
        "temperature": 4.0,
        "aggregation": "Mean",
        "sharpness": 6.0,
        "num_layers": 1,
        "bidirectional": False,
        "image_norm": True,
        "text_norm": True,
    }


@EVERY_CASE
def test_texts_are_lower_cased_as_bytes(case: ScanCase) -> None:
    assert load(case.checkpoint).text_options == {"ascii_case": True}
