from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.models.first_norm import FIRST_NORMS
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.imram.config import MODES, ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.options import ImramOptions
from itr_deploy.models.imram.plain import Imram
from tests.support.golden import CASES, FULL, Case
from tests.support.imram import (
    deployed_scores,
    golden_checkpoint,
    random_items,
    random_model,
    score_of_pair,
    write_checkpoint,
)

ALL_CASES = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
PRECOMPUTE = pytest.mark.parametrize("precompute", ["full", "none"])


def inputs(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(a) for a in (case.regions, case.token_ids, case.lengths))


@ALL_CASES
def test_plain_embeddings_are_the_published_ones(case: Case) -> None:
    plain = load(case.checkpoint).plain
    regions, ids, lengths = inputs(case)
    with torch.inference_mode():
        images, words = plain.encode_images(regions), plain.encode_texts(ids, lengths)
    np.testing.assert_allclose(images, case.expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(words, case.expected["word_embeddings"], atol=1e-5)


@ALL_CASES
def test_plain_scores_of_every_step_and_in_all_are_the_published_ones(case: Case) -> None:
    plain = load(case.checkpoint).plain
    with torch.inference_mode():
        steps, scores = plain.step_scores(*inputs(case)), plain.score(*inputs(case))
    stored = {name for name in case.expected if name.startswith("step_scores_")}
    assert {f"step_scores_{branch}" for branch in steps} == stored
    for branch, values in steps.items():
        np.testing.assert_allclose(values, case.expected[f"step_scores_{branch}"], atol=1e-5)
    np.testing.assert_allclose(scores, case.scores, atol=1e-5)


@PRECOMPUTE
@ALL_CASES
def test_deployed_scores_are_the_published_ones(case: Case, precompute: str) -> None:
    deployed = load(case.checkpoint, ImramOptions(precompute=precompute)).deployed
    np.testing.assert_allclose(deployed_scores(deployed, *inputs(case)), case.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "images", "texts"),
    [
        ("full_IMRAM", {"regions", "query", "context"}, {"words", "query", "context"}),
        ("text_IMRAM", {"regions", "context"}, {"words", "query"}),
        ("image_IMRAM", {"regions", "query"}, {"words", "context"}),
    ],
)
def test_a_gallery_stores_only_what_the_branches_of_the_model_read(
    mode: str, images: set[str], texts: set[str]
) -> None:
    deployed = ImramDeployment(random_model(small_config(mode=mode)), "full")
    assert {t.name.split("_")[0] for t in deployed.image_tensors} == images
    assert {t.name.split("_")[0] for t in deployed.text_tensors} == texts


@pytest.mark.parametrize(("precompute", "steps"), [("none", 3), ("full", 1)])
def test_without_projections_to_reuse_only_the_embeddings_are_stored(
    precompute: str, steps: int
) -> None:
    deployed = ImramDeployment(random_model(small_config(steps=steps)), precompute)
    assert [t.name for t in deployed.image_tensors] == ["regions"]
    assert [t.name for t in deployed.text_tensors] == ["words"]


def small_config(**options: object) -> ImramConfig:
    return ImramConfig(
        **{"image_dim": 5, "embed_dim": 6, "word_dim": 4, "vocab_size": 11, **options}
    )


def assert_forms_agree(model: Imram, items: tuple[torch.Tensor, ...]) -> None:
    """The published and both deployed forms score as the paper does, pair by pair."""
    regions, ids, lengths = items
    with torch.inference_mode():
        plain = model.score(regions, ids, lengths).numpy()
        encoded = model.encode_images(regions), model.encode_texts(ids, lengths)
    written_out = scores_of_pairs(model, *encoded, lengths, clamped=False)
    np.testing.assert_allclose(plain, written_out, atol=1e-9)
    for precompute in ("full", "none"):
        deployed = ImramDeployment(model, precompute)
        with torch.inference_mode():
            encoded = deployed.encode_images(regions)[0], deployed.encode_texts(ids, lengths)[0]
        written_out = scores_of_pairs(model, *encoded, lengths, clamped=True)
        scores = deployed_scores(deployed, regions, ids, lengths)
        np.testing.assert_allclose(scores, written_out, atol=1e-9)


def scores_of_pairs(
    model: Imram, images: torch.Tensor, texts: torch.Tensor, lengths: torch.Tensor, clamped: bool
) -> list[list[float]]:
    return [
        [
            score_of_pair(model, image, text[:length], clamped=clamped)
            for text, length in zip(texts.numpy(), lengths.tolist(), strict=True)
        ]
        for image in images.numpy()
    ]


@pytest.mark.parametrize("memory_norm", [False, True])
@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_and_norm_is_deployed_as_the_paper_computes_it(
    mode: str, attention_norm: str, memory_norm: bool
) -> None:
    config = small_config(mode=mode, attention_norm=attention_norm, memory_norm=memory_norm)
    model = random_model(config)
    items = random_items(config, images=3, regions=4, lengths=[5, 2, 3], padding=2)
    assert_forms_agree(model, items)
    with torch.inference_mode():
        plain = model.score(*items)
    for precompute in ("full", "none"):
        deployed = deployed_scores(ImramDeployment(model, precompute), *items)
        np.testing.assert_allclose(deployed, plain, atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_options_and_shapes_are_deployed_as_the_paper_computes_them(
    data: st.DataObject,
) -> None:
    config = small_config(
        mode=data.draw(st.sampled_from(MODES)),
        steps=data.draw(st.integers(1, 4)),
        num_layers=data.draw(st.integers(1, 2)),
        temperature=data.draw(st.sampled_from([1.0, 4.0, 9.0, 20.0])),
        attention_norm=data.draw(st.sampled_from(FIRST_NORMS)),
        memory_norm=data.draw(st.booleans()),
        image_norm=data.draw(st.booleans()),
        text_norm=data.draw(st.booleans()),
    )
    items = random_items(
        config,
        images=data.draw(st.integers(1, 4)),
        regions=data.draw(st.integers(1, 7)),
        lengths=data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4)),
        padding=data.draw(st.integers(0, 3)),
        seed=data.draw(st.integers(0, 1000)),
    )
    assert_forms_agree(random_model(config, seed=data.draw(st.integers(0, 1000))), items)


@PRECOMPUTE
@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
def test_what_stands_in_padded_positions_never_reaches_a_score(
    attention_norm: str, precompute: str
) -> None:
    config = small_config(attention_norm=attention_norm)
    deployed = ImramDeployment(random_model(config), precompute)
    regions, ids, lengths = random_items(config, 3, 4, lengths=[6, 2, 4], padding=3)
    other = ids.clone()
    other[torch.arange(ids.shape[1]) >= lengths.unsqueeze(1)] = 7
    assert not torch.equal(other, ids)
    torch.testing.assert_close(
        deployed_scores(deployed, regions, other, lengths),
        deployed_scores(deployed, regions, ids, lengths),
        rtol=0,
        atol=1e-12,
    )


def test_a_weight_normalised_image_encoder_is_folded_into_its_weight(tmp_path: Path) -> None:
    weight = golden_checkpoint()["model"]["module.img_enc.fc_local.weight"]
    scale = torch.tensor(2.5)
    path = write_checkpoint(
        tmp_path / "normed.tar",
        options={"precomp_enc_type": "weight_norm"},
        weights={
            "img_enc.fc_local.weight": None,
            "img_enc.fc_local.weight_g": scale,
            "img_enc.fc_local.weight_v": weight,
        },
    )
    plain = load(path).plain
    torch.testing.assert_close(
        plain.img_enc.fc_local.weight, scale * weight / weight.pow(2).sum().sqrt()
    )


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    options = load(FULL.checkpoint, ImramOptions(precompute="none")).options
    assert options == {
        "image_dim": 32,
        "embed_dim": 24,
        "word_dim": 12,
        "vocab_size": 40,
        "num_layers": 1,
        "mode": "full_IMRAM",
        "steps": 3,
        "temperature": 9.0,
        "attention_norm": "clipped_l2norm",
        "memory_norm": False,
        "image_norm": True,
        "text_norm": True,
        "precompute": "none",
        "step_scores": "no",
    }
