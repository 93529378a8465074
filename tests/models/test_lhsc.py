from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError, UsageError
from itr_deploy.models.imram.checkpoint import load as load_imram
from itr_deploy.models.layers import l2_norm
from itr_deploy.models.lhsc.checkpoint import load
from itr_deploy.models.lhsc.config import LhscConfig
from itr_deploy.models.lhsc.deployed import LhscDeployment
from itr_deploy.models.lhsc.folding import FoldedConvolution
from itr_deploy.models.lhsc.options import LhscOptions, TextPadding
from itr_deploy.models.lhsc.plain import Lhsc
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.registry import family

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "lhsc" / "default"
CHECKPOINT = GOLDEN / "model_best.pth.tar"

Items = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

PADDINGS = pytest.mark.parametrize(
    ("padding", "suffix"), [("true-length", ""), ("published", "_padded_batch")]
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name) as stored:
        return dict(stored)


def golden_items() -> Items:
    stored = arrays("inputs.npz")
    regions, ids, lengths = (stored[name] for name in ("images", "captions", "lengths"))
    return torch.from_numpy(regions), torch.from_numpy(ids), torch.from_numpy(lengths)


@torch.inference_mode()
def deployed_scores(deployed: LhscDeployment, items: Items) -> torch.Tensor:
    """All pairs through the exported form, ``[N, C]``."""
    regions, ids, lengths = items
    images = [tensor.unsqueeze(0) for tensor in deployed.encode_images(regions)[:-1]]
    texts = [tensor.unsqueeze(0) for tensor in deployed.encode_texts(ids, lengths)[:-1]]
    return deployed.match(texts, lengths.unsqueeze(0), images)[0].T


@PADDINGS
def test_plain_embeddings_and_scores_are_the_published_ones(padding: str, suffix: str) -> None:
    plain = load(CHECKPOINT, LhscOptions(text_padding=padding)).plain
    regions, ids, lengths = golden_items()
    expected = arrays("expected.npz")
    with torch.inference_mode():
        images, words = plain.encode_images(regions), plain.encode_texts(ids, lengths)
        scores = plain.score(regions, ids, lengths)
    np.testing.assert_allclose(images, expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(words, expected[f"word_embeddings{suffix}"], atol=1e-5)
    np.testing.assert_allclose(scores, expected[f"scores{suffix}"], atol=1e-5)


@PADDINGS
def test_deployed_embeddings_and_scores_are_the_published_ones(padding: str, suffix: str) -> None:
    deployed = load(CHECKPOINT, LhscOptions(text_padding=padding)).deployed
    regions, ids, lengths = golden_items()
    expected = arrays("expected.npz")
    with torch.inference_mode():
        images, words = deployed.encode_images(regions)[0], deployed.encode_texts(ids, lengths)[0]
    scores = deployed_scores(deployed, (regions, ids, lengths))
    np.testing.assert_allclose(images, expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(words, expected[f"word_embeddings{suffix}"], atol=1e-5)
    np.testing.assert_allclose(scores, expected[f"scores{suffix}"], atol=1e-5)


def test_the_state_dict_has_the_published_keys() -> None:
    model = load(CHECKPOINT).plain
    published = golden_checkpoint()["model"]
    for part, state in zip((model.image, model.text, model.similarity), published, strict=True):
        assert list(part.state_dict()) == list(state)


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    assert load(CHECKPOINT).options == {
        "image_dim": 32,
        "embed_dim": 24,
        "sim_dim": 16,
        "word_dim": 12,
        "vocab_size": 40,
        "num_layers": 1,
        "image_norm": True,
        "text_norm": True,
        "text_padding": "true-length",
    }


def test_an_export_pads_texts_by_default_as_the_model_does() -> None:
    assert family("lhsc").options().text_padding == LhscConfig(1, 4, 1, 1, 1).text_padding


def random_model(seed: int = 0, **options: Any) -> Lhsc:
    """A small model in float64 with batch normalisations as training leaves them."""
    sizes = {"image_dim": 5, "embed_dim": 8, "sim_dim": 6, "word_dim": 4, "vocab_size": 11}
    torch.manual_seed(seed)
    model = Lhsc(LhscConfig(**{**sizes, **options})).double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def random_items(images: int, lengths: list[int], padding: int = 0, seed: int = 0) -> Items:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 11, size=(len(lengths), max(lengths) + padding))
    ids[np.arange(ids.shape[1]) >= np.array(lengths)[:, None]] = 0
    features = torch.from_numpy(rng.standard_normal((images, 36, 5)))
    return features, torch.from_numpy(ids), torch.tensor(lengths)


@torch.inference_mode()
def plain_scores(model: Lhsc, items: Items) -> torch.Tensor:
    """The published computation with the norms' guard as the exported form has it.

    ``+ 1e-8`` and "at least 1e-8" differ where a norm is tiny; what is left is the arithmetic.
    """
    with (
        patch("itr_deploy.models.lhsc.plain.l2_norm_published", l2_norm),
        patch("itr_deploy.models.similarity.plain.l2_norm_published", l2_norm),
    ):
        return model.score(*items)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_options_and_shapes_are_deployed_as_published(data: st.DataObject) -> None:
    padding = data.draw(st.sampled_from(get_args(TextPadding)))
    model = random_model(
        seed=data.draw(st.integers(0, 1000)),
        num_layers=data.draw(st.integers(1, 2)),
        image_norm=data.draw(st.booleans()),
        text_norm=data.draw(st.booleans()),
        text_padding=padding,
    )
    items = random_items(
        images=data.draw(st.integers(1, 3)),
        lengths=data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4)),
        padding=data.draw(st.integers(0, 3)) if padding == "true-length" else 0,
        seed=data.draw(st.integers(0, 1000)),
    )
    scores = deployed_scores(LhscDeployment(model), items)
    np.testing.assert_allclose(scores, plain_scores(model, items), rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    padding=st.integers(0, 4),
    junk=st.integers(0, 10),
    order=st.randoms(use_true_random=False),
)
def test_a_pair_scores_the_same_alone_in_any_order_and_with_any_padding(
    lengths: list[int], padding: int, junk: int, order: Any
) -> None:
    model, deployed = PAIR_MODEL
    regions, ids, counts = random_items(2, lengths)
    batch = deployed_scores(deployed, (regions, ids, counts))
    plain = plain_scores(model, (regions, ids, counts))
    torch.testing.assert_close(plain, batch, rtol=0, atol=1e-9)

    padded = torch.nn.functional.pad(ids, (0, padding), value=junk)
    padded[torch.arange(padded.shape[1]) >= counts.unsqueeze(1)] = junk
    assert_same(deployed_scores(deployed, (regions, padded, counts)), batch)

    places = list(range(len(lengths)))
    order.shuffle(places)
    shuffled = deployed_scores(deployed, (regions.flip(0), ids[places], counts[places]))
    assert_same(shuffled, batch.flip(0)[:, places])

    for text, length in enumerate(lengths):
        alone = regions[1:], ids[text : text + 1, :length], counts[text : text + 1]
        assert_same(deployed_scores(deployed, alone), batch[1:, text : text + 1])


def assert_same(scores: torch.Tensor, reference: torch.Tensor) -> None:
    torch.testing.assert_close(scores, reference, rtol=0, atol=1e-12)


def _pair_model() -> tuple[Lhsc, LhscDeployment]:
    model = random_model()
    return model, LhscDeployment(model)


PAIR_MODEL = _pair_model()


@torch.inference_mode()
def test_published_padding_is_that_of_every_hundred_consecutive_captions() -> None:
    model = random_model(text_padding="published")
    lengths = [3 + place % 4 for place in range(100)] + [2, 5]
    _, ids, counts = random_items(1, lengths)
    words = model.encode_texts(ids, counts)
    first = model.text(ids[:100, :6], counts[:100])
    rest = model.text(ids[100:, :5], counts[100:])
    torch.testing.assert_close(words[:100, :6], first)
    torch.testing.assert_close(words[100:, :5], rest)
    alone = model.text(ids[100:101, :2], counts[100:101])
    assert not torch.allclose(words[100, :2], alone[0], atol=1e-3)


@pytest.mark.parametrize("width", [4, 12])
def test_a_folded_convolution_is_the_published_layer(width: int) -> None:
    layer = random_model(embed_dim=width).image.layers[0]
    regions = torch.randn(3, 36, width, dtype=torch.float64)
    with torch.inference_mode():
        published = layer(regions.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(FoldedConvolution(layer)(regions), published)


def golden_checkpoint() -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        content: dict[str, Any] = torch.load(CHECKPOINT, weights_only=True)
    return content


def refusal(content: dict[str, Any], folder: Path) -> str:
    """The one line with which a checkpoint is refused, which names the file."""
    path = folder / "model.tar"
    torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bi_gru": False}, ("bi_gru=False",)),
        ({"sim_dim": "16"}, ("sim_dim='16'", "str", "int")),
        ({"sim_dim": None}, ("'sim_dim' is missing",)),
        ({"sim_dim": 8}, ("sim_tranloc_w.weight", "[16, 24]", "[8, 24]")),
        ({"no_imgnorm": 1}, ("no_imgnorm=1", "bool")),
    ],
)
def test_options_that_cannot_be_used_are_named(
    options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    content = golden_checkpoint()
    vars(content["opt"]).update(options)
    message = refusal(content, tmp_path)
    for word in words:
        assert word in message


def test_an_embedding_that_has_no_quarters_is_refused(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["opt"].embed_size = 26
    path = tmp_path / "model.tar"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="embed_size=26 is not a multiple of 4"):
        load(path)


def test_an_unknown_text_padding_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"text_padding='none' cannot be used with lhsc",
    ):
        LhscOptions.checked("lhsc", {"text_padding": "none"})


@pytest.mark.parametrize(
    ("part", "key", "name"),
    [
        (0, "IM_GCN_3.W.1.running_var", "image"),
        (0, "IM_GCN_4.W.1.running_var", "image"),
        (1, "W_att4.embedding_v.0.bias", "text"),
        (2, "cal_sim_base_atten.bn.running_mean", "similarity"),
    ],
)
def test_a_missing_weight_is_named_with_its_part(
    part: int, key: str, name: str, tmp_path: Path
) -> None:
    content = golden_checkpoint()
    del content["model"][part][key]
    message = refusal(content, tmp_path)
    assert f"LHSC's {name} part: missing ['{key}']" in message


def test_an_unknown_weight_is_named(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"][1]["W_att5.embedding_v.0.bias"] = torch.zeros(12)
    assert "unknown ['W_att5.embedding_v.0.bias']" in refusal(content, tmp_path)


@pytest.mark.parametrize(
    "change", [lambda model: model[:2], lambda model: [model[0], 3, model[2]], lambda model: 7]
)
def test_another_number_or_kind_of_parts_is_refused(change: Any, tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = change(content["model"])
    assert "not a list of 3 state dicts" in refusal(content, tmp_path)


def test_three_state_dicts_of_something_else_are_refused(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = [{"fc.weight": torch.zeros(2)}, {}, {}]
    message = refusal(content, tmp_path)
    assert "not an LHSC checkpoint" in message
    assert "starts with 'fc.weight'" in message


@pytest.mark.parametrize("key", ["linear_t2i.weight", "module.linear_t2i.weight"])
def test_a_checkpoint_of_imram_is_recognised(key: str, tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = {key: torch.zeros(2)}
    message = refusal(content, tmp_path)
    assert "LHSC" in message
    assert "another model, IMRAM: itr-deploy export imram" in message


def test_imram_recognises_a_checkpoint_of_lhsc() -> None:
    with pytest.raises(CheckpointError) as caught:
        load_imram(CHECKPOINT)
    assert "'model' is a list" in str(caught.value)
    assert "another model, LHSC: itr-deploy export lhsc" in str(caught.value)


@torch.inference_mode()
def test_half_precision_does_not_round_the_score() -> None:
    trained = load(CHECKPOINT, LhscOptions())
    with matrix_precision("bfloat16"):
        scores = deployed_scores(trained.deployed, golden_items())
    products = torch.logit(scores.double()) - trained.plain.similarity.sim_eval_w.bias.double()
    off = (products - products.bfloat16()).abs() / products.abs()
    assert off.median() > 1e-4
