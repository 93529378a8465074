"""CAMERA in PyTorch compared with the published program's results."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from itr_deploy.errors import CheckpointError, InputError
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.camera.boxes import box_features, check_boxes
from itr_deploy.models.camera.checkpoint import read_model
from itr_deploy.models.camera.config import CameraConfig
from itr_deploy.models.camera.folding import (
    FoldedImageEncoder,
    FoldedTextEncoder,
    fold_attention,
)
from itr_deploy.models.camera.plain import Camera
from itr_deploy.models.precision import matrix_precision
from tests.support.cases import GoldenCase, assert_close, random_norms, refusal

K12, K3 = CASES = [GoldenCase(f"camera/{name}") for name in ("k12", "k3_r20")]
ALL = pytest.mark.parametrize("case", CASES, ids=repr)

Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def read(case: GoldenCase, path: Path | None = None) -> tuple[CameraConfig, Camera]:
    return read_model(path or case.checkpoint, case.bert_config)


def images(case: GoldenCase) -> Images:
    return case.inputs["images"], case.inputs["boxes"], case.inputs["img_sizes"]


def texts(case: GoldenCase) -> tuple[torch.Tensor, torch.Tensor]:
    return case.inputs["input_ids"], case.inputs["lengths"]


@ALL
@torch.inference_mode()
def test_the_plain_model_computes_what_is_published(case: GoldenCase) -> None:
    _, model = read(case)
    features, boxes, sizes = images(case)
    position = model.image.position(boxes, sizes)
    assert_close(position, case.expected["position"])
    regions = model.image.regions(features, position)
    assert_close(regions, case.expected["region_embeddings"])
    assert_close(model.image.mvs(regions), case.expected["summary_weights"])
    views, sentences = model.encode_images(*images(case)), model.encode_texts(*texts(case))
    assert_close(views, case.expected["view_embeddings"])
    assert_close(sentences, case.expected["sentence_embedding"])
    assert_close(model.score(*images(case), *texts(case)), case.expected["scores"])


@ALL
@torch.inference_mode()
def test_the_folded_encoders_compute_what_is_published(case: GoldenCase) -> None:
    config, model = read(case)
    views = FoldedImageEncoder(model.image, config)(*images(case))
    sentences = FoldedTextEncoder(model.text, config)(*texts(case))
    assert_close(views, case.expected["view_embeddings"])
    assert_close(sentences, case.expected["sentence_embedding"])
    assert_close(model.match(views, sentences), case.expected["scores"])


@ALL
def test_the_state_dicts_have_the_published_keys(case: GoldenCase) -> None:
    _, model = read(case)
    image, text = case.content()["model"]
    assert list(model.image.state_dict()) == list(image)
    assert [*model.text.state_dict()] == [key for key in text if "bert.pooler." not in key]


SIZES = BertSizes(11, 8, 1, 2, 8, 16)


def random_model(seed: int = 0, **options: Any) -> Camera:
    """A small model in float64."""
    torch.manual_seed(seed)
    sizes = {"image_dim": 5, "embed_dim": 12, "heads": 3, "views": 4, "max_words": 9}
    model = Camera(CameraConfig(**{**sizes, "bert": SIZES, **options})).double().eval()
    random_norms(model)
    return model


def random_images(count: int, regions: int, seed: int = 0) -> Images:
    torch.manual_seed(seed)
    corners = torch.rand(count, regions, 4, dtype=torch.float64) * 100
    boxes = torch.cat([corners[..., :2], corners[..., :2] + 1 + corners[..., 2:]], dim=2)
    return torch.randn(count, regions, 5).double(), boxes, torch.full((count, 2), 201)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 3), regions=st.integers(1, 20), seed=st.integers(0, 1000))
@torch.inference_mode()
def test_images_of_any_number_of_regions_are_folded_exactly(
    count: int, regions: int, seed: int
) -> None:
    model, items = random_model(seed), random_images(count, regions, seed)
    views = FoldedImageEncoder(model.image, model.config)(*items)
    torch.testing.assert_close(views, model.encode_images(*items), rtol=0, atol=1e-9)
    lengths = views.norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=4), seed=st.integers(0, 1000))
@torch.inference_mode()
def test_texts_are_folded_exactly(lengths: list[int], seed: int) -> None:
    model, counts = random_model(seed), torch.tensor(lengths)
    ids = torch.randint(1, 11, (len(lengths), 9)) * (torch.arange(9) < counts[:, None])
    folded = FoldedTextEncoder(model.text, model.config)(ids, counts)
    torch.testing.assert_close(folded, model.encode_texts(ids, counts), rtol=0, atol=1e-9)


@torch.inference_mode()
def test_an_attention_holds_its_batch_normalisation() -> None:
    model = random_model()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    folded = fold_attention(model.image.agsa, model.config)
    torch.testing.assert_close(folded(x), model.image.agsa(x))


@torch.inference_mode()
def test_the_folded_image_encoder_has_a_half_precision_form() -> None:
    config, model = read(K3)
    encoder = FoldedImageEncoder(model.image, config)
    with matrix_precision("float16"):
        halved = encoder(*images(K3))
    assert 0 < float((halved - encoder(*images(K3))).abs().max()) < 1e-2


@torch.inference_mode()
def test_an_image_scores_the_same_alone() -> None:
    model, items = random_model(), random_images(4, 6)
    views = model.encode_images(*items)
    for row in range(4):
        alone = model.encode_images(*(item[row : row + 1] for item in items))
        torch.testing.assert_close(alone[0], views[row], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_the_order_of_the_regions_matters() -> None:
    model, items = random_model(), random_images(1, 9)
    turned = model.encode_images(items[0].flip(1), items[1].flip(1), items[2])
    assert (turned - model.encode_images(*items)).abs().max() > 1e-4


@torch.inference_mode()
def test_a_caption_scores_the_same_alone_and_however_it_is_padded() -> None:
    model, lengths = random_model(), torch.tensor([3, 7, 5])
    ids = torch.randint(1, 11, (3, 7)) * (torch.arange(7) < lengths[:, None])
    vectors = model.encode_texts(ids, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode_texts(ids[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], vectors[row], rtol=0, atol=1e-12)
    longer = model.encode_texts(functional.pad(ids, (0, 8)), lengths)
    torch.testing.assert_close(longer, vectors, rtol=0, atol=1e-12)


@torch.inference_mode()
def test_the_padded_length_is_part_of_the_model() -> None:
    ids, lengths = torch.randint(1, 11, (1, 5)), torch.tensor([5])
    vectors = [random_model(max_words=words).encode_texts(ids, lengths) for words in (9, 10)]
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_a_caption_that_is_too_long_is_refused() -> None:
    with pytest.raises(InputError, match="a caption of 10 tokens; this model takes 9"):
        random_model().encode_texts(torch.ones(1, 10, dtype=torch.int64), torch.tensor([10]))


@torch.inference_mode()
def test_the_score_is_that_of_the_best_view() -> None:
    views = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    sentences = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
    torch.testing.assert_close(random_model().match(views, sentences), torch.tensor([[0.8, 0.8]]))


def test_a_feature_that_no_region_has_is_named() -> None:
    model, (_, boxes, sizes) = random_model(), random_images(2, 6)
    model.image.fc.bias.data[:] = 0
    features = torch.ones(2, 6, 5).double()
    features[1] = 0
    with pytest.raises(InputError, match="image 1: 12 of its 12 embedded features are 0 in every"):
        model.encode_images(features, boxes, sizes)


def test_a_box_becomes_its_corner_its_size_and_its_shape() -> None:
    boxes, sizes = torch.tensor([[[10.0, 20.0, 40.0, 80.0]]]), torch.tensor([[100, 200]])
    expected = torch.tensor([[[0.1, 0.1, 0.3, 0.3, 0.5, 0.09]]])
    torch.testing.assert_close(box_features(boxes, sizes), expected)


GOOD = [10.0, 20.0, 40.0, 80.0]


@pytest.mark.parametrize(
    ("box", "size", "words"),
    [
        ([10.0, 20.0, 40.0, 20.0], [100, 200], ("image 1: box 2 (10, 20, 40, 20) has no height",)),
        ([10.0, 20.0, float("nan"), 80.0], [100, 200], ("image 1: box 2", "not finite")),
        (GOOD, [100, 0], ("image 1: its size is [100, 0]", "width, height")),
        (GOOD, [-5, 200], ("image 1: its size is [-5, 200]",)),
    ],
)
def test_boxes_without_a_height_and_pictures_without_a_size_are_refused(
    box: list[float], size: list[int], words: tuple[str, ...]
) -> None:
    boxes, sizes = torch.tensor([[GOOD] * 3, [GOOD, GOOD, box]]), torch.tensor([[100, 200], size])
    with pytest.raises(InputError) as caught:
        check_boxes(boxes, sizes)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(InputError):
        random_model().encode_images(torch.randn(2, 3, 5).double(), boxes.double(), sizes)


@pytest.mark.parametrize("shapes", [((2, 3, 5), (2, 2)), ((2, 3, 4), (2, 3)), ((2, 3, 4), (1, 2))])
def test_boxes_of_another_form_are_refused(shapes: Any) -> None:
    with pytest.raises(InputError, match=r"should be \[N, R, 4\] and \[N, 2\]"):
        check_boxes(torch.ones(shapes[0]), torch.ones(shapes[1]))


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ([10.0, 20.0, 5.0, 80.0], [100, 200]),
        ([10.0, 20.0, 40.0, 10.0], [100, 200]),
        (GOOD, [200, 60]),
        ([-30.0, 20.0, 40.0, 80.0], [100, 200]),
    ],
)
def test_boxes_that_are_probably_something_else_are_warned_of(
    box: list[float], size: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_boxes(torch.tensor([[GOOD, box]]), torch.tensor([size]))
    assert "1 of 1 images have boxes outside of their picture" in caplog.text


@ALL
def test_published_boxes_that_overhang_are_not_warned_of(
    case: GoldenCase, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_boxes(case.inputs["boxes"], case.inputs["img_sizes"])
    assert not caplog.records


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    sizes = BertSizes.from_json(K3.bert_config)
    config = read(K3)[0]
    assert config == CameraConfig(32, 24, heads=3, views=3, max_words=12, bert=sizes)
    scalars = config.scalars()
    assert scalars["bert_num_attention_heads"] == 3
    assert json.loads(json.dumps(scalars)) == scalars


@ALL
def test_what_the_weights_show_may_be_missing_among_the_options(
    case: GoldenCase, tmp_path: Path
) -> None:
    content, path = case.content(), tmp_path / "model.tar"
    for name in ("img_dim", "embed_size", "head", "smry_k"):
        delattr(content["opt"], name)
    torch.save(content, path)
    assert read(case, path)[0] == read(case)[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_words": None}, ("'max_words' is missing",)),
        ({"max_words": 41}, ("max_words=41 must be from 3 to BERT's 40",)),
        ({"max_words": 2}, ("max_words=2 must be from 3",)),
        ({"head": 7}, ("embed_size=32 does not divide into head=7",)),
        ({"head": 4}, ("fc_q.weight has shape [4, 4], its options say [8, 8]",)),
        ({"smry_k": 11}, ("convs_fc.weight", "[12, 1024]", "[11, 1024]")),
        ({"embed_size": 64}, ("its options say",)),
        ({"do_lower_case": "no"}, ("do_lower_case='no'", "bool")),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_named(
    options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    content, path = K12.content(), tmp_path / "model.tar"
    vars(content["opt"]).update(options)
    torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        read(K12, path)
    for word in words:
        assert word in str(caught.value)


def test_captions_that_were_not_lower_cased_are_known(tmp_path: Path) -> None:
    content, path = K12.content(), tmp_path / "model.tar"
    content["opt"].do_lower_case = False
    torch.save(content, path)
    assert (read(K12)[0].lower_case, read(K12, path)[0].lower_case) == (True, False)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        (0, "fc.weight"),
        (0, "position_enc.proj.bias"),
        (0, "agsa.att_layers.0.fc_q.weight"),
        (0, "mvs.convs_dilate.6.bias"),
        (1, "agsa.bns.0.running_var"),
        (1, "bert.encoder.layer.1.output.LayerNorm.weight"),
        (1, "mapping.weight"),
        (1, "bn.running_mean"),
    ],
)
def test_every_weight_that_is_used_is_demanded(part: int, key: str, tmp_path: Path) -> None:
    content = K12.content()
    del content["model"][part][key]
    if key == "fc.weight":
        content["opt"].embed_size = 32
    message = refusal(lambda path: read(K12, path), content, tmp_path)
    assert f"CAMERA's {('image', 'text')[part]} part: missing ['{key}']" in message


def test_an_unknown_weight_is_named(tmp_path: Path) -> None:
    content = K12.content()
    content["model"][0]["agsa.att_layers.1.fc_q.weight"] = torch.zeros(4, 4)
    message = refusal(lambda path: read(K12, path), content, tmp_path)
    assert "unknown ['agsa.att_layers.1.fc_q.weight']" in message


def test_a_bert_that_was_never_trained_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, path = K12.content(), tmp_path / "model.tar"
    norms = {key: w for key, w in content["model"][1].items() if "LayerNorm." in key}
    for key, weight in norms.items():
        content["model"][1][key] = torch.full_like(weight, float(key.endswith("weight")))
    torch.save(content, path)
    with caplog.at_level(logging.WARNING):
        read(K12, path)
    assert "as if it had never been trained" in caplog.text
    caplog.clear()
    content["model"][1][key][0] += 0.01
    torch.save(content, path)
    read(K12, path)
    assert not caplog.records


def test_without_its_config_the_wrong_bert_is_refused() -> None:
    with pytest.raises(CheckpointError, match="--bert-config"):
        read_model(K12.checkpoint)


def test_a_checkpoint_of_another_family_is_recognised() -> None:
    with pytest.raises(CheckpointError, match="another model, LHSC"):
        read_model(GoldenCase("lhsc/default").checkpoint)
    with pytest.raises(CheckpointError, match="not a CAMERA checkpoint"):
        read_model(GoldenCase("vsrn/coco").checkpoint)
