"""VSRN in PyTorch compared with the published program's results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError, InputError
from itr_deploy.exporters.vocabulary import read_words
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc
from itr_deploy.models.vsrn.checkpoint import read_model
from itr_deploy.models.vsrn.config import VsrnConfig
from itr_deploy.models.vsrn.folding import FoldedImageEncoder, FoldedLayer
from itr_deploy.models.vsrn.plain import Vsrn
from itr_deploy.runtime.text.words import NltkWordProcessor
from tests.support.cases import GoldenCase, assert_close, random_norms, refusal

COCO, F30K, ORDER = CASES = [
    GoldenCase(f"vsrn/{name}") for name in ("coco", "f30k", "f30k_order_abs")
]
ALL = pytest.mark.parametrize("case", CASES, ids=repr)


def texts(case: GoldenCase) -> tuple[torch.Tensor, torch.Tensor]:
    return case.inputs["captions"], case.inputs["lengths"]


@ALL
@torch.inference_mode()
def test_the_plain_model_computes_what_is_published(case: GoldenCase) -> None:
    _, model = read_model(case.checkpoint)
    images, captions = case.inputs["images"], texts(case)
    assert_close(model.image.regions(images), case.expected["region_embeddings"])
    assert_close(model.encode_images(images), case.expected["image_embeddings"])
    assert_close(model.encode_texts(*captions), case.expected["caption_embeddings"])
    assert_close(model.score(images, *captions), case.expected["scores"])


@ALL
@torch.inference_mode()
def test_the_folded_image_encoder_computes_what_is_published(case: GoldenCase) -> None:
    _, model = read_model(case.checkpoint)
    vectors = FoldedImageEncoder(model.image)(case.inputs["images"])
    assert_close(vectors, case.expected["image_embeddings"])
    assert_close(model.match(vectors, model.encode_texts(*texts(case))), case.expected["scores"])


@ALL
@pytest.mark.parametrize("suffix", ["pkl", "json"])
def test_captions_become_the_published_ids(case: GoldenCase, suffix: str) -> None:
    words = read_words(case.folder / f"vocab.{suffix}", 48)
    ids, lengths = NltkWordProcessor(words, None, 64).token_ids(case.captions)
    assert ids.tolist() == case.inputs["captions"].tolist()
    assert lengths.tolist() == case.inputs["lengths"].tolist()


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    assert read_model(ORDER.checkpoint)[0] == VsrnConfig(
        image_dim=32,
        embed_dim=24,
        word_dim=12,
        vocab_size=48,
        architecture="f30k",
        measure="order",
        absolute=True,
    )
    assert read_model(COCO.checkpoint)[0] == VsrnConfig(32, 24, 12, 48)


@pytest.mark.parametrize("case", [COCO, F30K], ids=repr)
def test_the_state_dicts_have_the_published_keys(case: GoldenCase) -> None:
    _, model = read_model(case.checkpoint)
    for part, state in zip((model.image, model.text), case.content()["model"], strict=True):
        assert list(part.state_dict()) == list(state)


def random_model(seed: int = 0, **options: Any) -> Vsrn:
    """A small model in float64."""
    sizes = {"image_dim": 5, "embed_dim": 8, "word_dim": 4, "vocab_size": 11}
    torch.manual_seed(seed)
    model = Vsrn(VsrnConfig(**{**sizes, **options})).double().eval()
    random_norms(model)
    return model


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@torch.inference_mode()
def test_any_options_and_numbers_of_regions_are_folded_exactly(data: st.DataObject) -> None:
    model = random_model(
        seed=data.draw(st.integers(0, 1000)),
        architecture=data.draw(st.sampled_from(["coco", "f30k"])),
        image_norm=data.draw(st.booleans()),
        absolute=data.draw(st.booleans()),
    )
    regions = torch.randn(data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9)), 5).double()
    folded = FoldedImageEncoder(model.image)(regions)
    torch.testing.assert_close(folded, model.encode_images(regions), rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_every_bias_of_a_relation_counts() -> None:
    """There is no softmax in which one of them would cancel."""
    layer = random_model().image.layers[0]
    regions = torch.randn(2, 6, 8, dtype=torch.float64)
    for bias in (layer.theta.bias, layer.phi.bias, layer.g.bias):
        before = layer(regions.transpose(1, 2))
        bias.data.add_(1)
        published = layer(regions.transpose(1, 2))
        assert (published - before).abs().max() > 1e-3
        torch.testing.assert_close(FoldedLayer(layer)(regions), published.transpose(1, 2))


@pytest.mark.parametrize("layers", [1, 2])
@torch.inference_mode()
def test_a_caption_scores_the_same_alone_and_with_any_padding(layers: int) -> None:
    model = random_model(num_layers=layers)
    ids, lengths = torch.randint(1, 11, (3, 7)), torch.tensor([2, 7, 4])
    vectors = model.encode_texts(ids, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode_texts(ids[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], vectors[row], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_the_order_of_the_regions_matters() -> None:
    model = random_model()
    regions = torch.randn(1, 6, 5, dtype=torch.float64)
    turned = model.encode_images(regions.flip(1))
    assert (turned - model.encode_images(regions)).abs().max() > 1e-3


@torch.inference_mode()
def test_without_its_norm_an_image_has_any_length() -> None:
    model = random_model(image_norm=False)
    lengths = model.encode_images(torch.randn(4, 6, 5, dtype=torch.float64)).norm(dim=1)
    assert (lengths - 1).abs().min() > 1e-3


@torch.inference_mode()
def test_an_image_without_a_feature_is_named_and_not_a_number_where_it_is_not_checked() -> None:
    model = random_model()
    model.image.fc.weight[3] = 0
    regions = torch.randn(3, 6, 5, dtype=torch.float64)
    regions[1, :, 0] = 0
    model.image.fc.bias[3] = 0
    model.image.fc.weight[3, 0] = 1
    with pytest.raises(InputError, match="image 1: 1 of its 8 embedded features are 0 in every"):
        model.encode_images(regions)
    vectors = FoldedImageEncoder(model.image)(regions)
    assert vectors[1].isnan().all()
    assert vectors[[0, 2]].isfinite().all()


def changed(case: GoldenCase, **options: Any) -> dict[str, Any]:
    content = case.content()
    vars(content["opt"]).update(options)
    return content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data_name": "f30k"}, ("data_name='f30k'", "reads pictures", "_precomp")),
        ({"data_name": None}, ("'data_name' is missing",)),
        ({"measure": "euclidean"}, ("measure='euclidean' is unknown", "cosine, order")),
        ({"embed_size": 32}, ("shape", "its options say")),
        ({"num_layers": 2}, ("missing", "rnn.bias_hh_l1")),
        ({"no_imgnorm": 1}, ("no_imgnorm=1", "bool")),
        ({"use_abs": "yes"}, ("use_abs='yes'", "bool")),
    ],
)
def test_options_that_cannot_be_used_are_named(
    options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "model.tar"
    torch.save(changed(COCO, **options), path)
    with pytest.raises(CheckpointError) as caught:
        read_model(path)
    for word in words:
        assert word in str(caught.value)


def test_a_flickr_checkpoint_without_its_batch_norm_is_taken_for_an_older_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.tar"
    torch.save(changed(COCO, data_name="f30k_precomp"), path)
    config, model = read_model(path)
    assert config.architecture == "coco"
    assert "before January 2020" in caplog.text
    with torch.inference_mode():
        scores = model.score(COCO.inputs["images"], *texts(COCO))
    assert_close(scores, COCO.expected["scores"])


def test_a_batch_norm_under_another_data_name_is_refused(tmp_path: Path) -> None:
    message = refusal(read_model, changed(F30K, data_name="coco_precomp"), tmp_path)
    assert "has bn.*, as only data_name='f30k_precomp' has it" in message


@pytest.mark.parametrize("extra", ["caption_model.out.weight", "Rs_GCN_5.g.weight", "fc.extra"])
def test_what_the_program_ignores_of_the_image_part_is_left_out(
    extra: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, path = COCO.content(), tmp_path / "model.tar"
    content["model"][0][extra] = torch.zeros(2)
    content["model"].append({"decoder.weight": torch.zeros(3)})
    torch.save(content, path)
    with caplog.at_level(logging.WARNING):
        _, model = read_model(path)
    assert extra in caplog.text
    with torch.inference_mode():
        scores = model.score(COCO.inputs["images"], *texts(COCO))
    assert_close(scores, COCO.expected["scores"])


@pytest.mark.parametrize("key", ["Rs_GCN_4.W.1.running_var", "img_rnn.bias_hh_l0", "fc.bias"])
def test_a_missing_weight_of_the_image_part_is_named(key: str, tmp_path: Path) -> None:
    content = COCO.content()
    del content["model"][0][key]
    assert f"VSRN's image part: missing ['{key}']" in refusal(read_model, content, tmp_path)


def test_an_incomplete_batch_norm_is_refused(tmp_path: Path) -> None:
    content = F30K.content()
    del content["model"][0]["bn.running_var"]
    assert "missing ['bn.running_var']" in refusal(read_model, content, tmp_path)


def test_a_missing_or_unknown_weight_of_the_text_part_is_named(tmp_path: Path) -> None:
    content = COCO.content()
    content["model"][1]["extra.weight"] = torch.zeros(2)
    message = refusal(read_model, content, tmp_path)
    assert "VSRN's text part: unknown ['extra.weight']" in message
    del content["model"][1]["extra.weight"], content["model"][1]["embed.weight"]
    message = refusal(read_model, content, tmp_path)
    assert "VSRN's text part: missing ['embed.weight']" in message


def test_missing_counters_of_batch_norms_are_no_loss(tmp_path: Path) -> None:
    content, path = F30K.content(), tmp_path / "model.tar"
    for key in [key for key in content["model"][0] if key.endswith("num_batches_tracked")]:
        del content["model"][0][key]
    torch.save(content, path)
    assert read_model(path)[0] == read_model(F30K.checkpoint)[0]


@pytest.mark.parametrize(
    "change", [lambda model: model[:1], lambda model: [model[0], 3], lambda model: model[0]]
)
def test_another_form_of_the_weights_is_refused(change: Any, tmp_path: Path) -> None:
    content = COCO.content()
    content["model"] = change(content["model"])
    assert "not a list of 2 state dicts" in refusal(read_model, content, tmp_path)


def test_a_checkpoint_of_another_family_is_recognised() -> None:
    lhsc = GoldenCase("lhsc/default").checkpoint
    with pytest.raises(CheckpointError, match=r"not a VSRN checkpoint.*another model, LHSC"):
        read_model(lhsc)
    with pytest.raises(CheckpointError, match="not LHSC's checkpoint"):
        load_lhsc(COCO.checkpoint)
