"""VSE-infinity in PyTorch compared with the published program's results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from itr_deploy.errors import CheckpointError, InputError
from itr_deploy.exporters.vocabulary import read_pieces, read_words
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.layers import position_mask
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.vse_infty.backbone import ResidualNetwork, cells
from itr_deploy.models.vse_infty.checkpoint import read_model
from itr_deploy.models.vse_infty.config import Backbone, Stage, VseInftyConfig, Words
from itr_deploy.models.vse_infty.deployed import VseInftyDeployment
from itr_deploy.models.vse_infty.folding import (
    FixedPooling,
    FoldedRegions,
    TabulatedPooling,
    fold_network,
)
from itr_deploy.models.vse_infty.plain import VseInfty
from itr_deploy.models.vse_infty.pooling import Gpo
from itr_deploy.models.vse_infty.preprocessing import Preprocessing
from itr_deploy.runtime.text.wordpiece import WordPieceProcessor
from itr_deploy.runtime.text.words import NltkWordProcessor
from tests.support.cases import GoldenCase, assert_close, random_norms, refusal

NAMES = ("region_bert", "region_bert_ragged", "region_bigru", "grid_detector_bert")
REGIONS, RAGGED, WORDS, GRID = CASES = [GoldenCase(f"vse_infty/{name}") for name in NAMES]
ALL = pytest.mark.parametrize("case", CASES, ids=repr)


def read(case: GoldenCase, path: Path | None = None) -> tuple[VseInftyConfig, VseInfty]:
    return read_model(path or case.checkpoint, "" if case is WORDS else case.bert_config)


def texts(case: GoldenCase) -> tuple[torch.Tensor, torch.Tensor]:
    return case.inputs["captions" if case is WORDS else "input_ids"], case.inputs["lengths"]


def image_lengths(case: GoldenCase) -> torch.Tensor:
    images, positions, _ = case.expected["image_locals"].shape
    return case.inputs.get("image_lengths", torch.full((images,), positions))


@ALL
@torch.inference_mode()
def test_the_plain_model_computes_what_is_published(case: GoldenCase) -> None:
    _, model = read(case)
    images, (ids, lengths), regions = case.inputs["images"], texts(case), image_lengths(case)
    expected = case.expected
    local, words = model.image(images), model.text(ids, lengths)
    real, spoken = position_mask(regions, local.shape[1]), position_mask(lengths, ids.shape[1])
    largest = float(expected["image_locals"].abs().max())
    assert_close(local[real], expected["image_locals"][real], max(1e-5, 1e-6 * largest))
    assert_close(words[spoken], expected["word_locals"][spoken])
    weights = model.image.pooling.weights(regions, local.shape[1])
    assert_close(weights, expected["image_pool_weights"])
    assert_close(model.text.gpool.weights(lengths, ids.shape[1]), expected["text_pool_weights"])
    assert_close(model.encode_images(images, regions), expected["image_embedding"])
    assert_close(model.encode_texts(ids, lengths), expected["sentence_embedding"])
    assert_close(model.score(images, ids, lengths, regions), expected["scores"])


@ALL
@torch.inference_mode()
def test_tabulated_weights_give_what_is_published(case: GoldenCase) -> None:
    _, model = read(case)
    (ids, lengths), regions = texts(case), image_lengths(case)
    table = TabulatedPooling(model.image.pooling, 40)
    vectors = functional.normalize(table(model.image(case.inputs["images"]), regions))
    assert_close(vectors, case.expected["image_embedding"])
    table = TabulatedPooling(model.text.gpool, 40)
    vectors = functional.normalize(table(model.text(ids, lengths), lengths))
    assert_close(vectors, case.expected["sentence_embedding"])


@torch.inference_mode()
def test_a_folded_grid_computes_what_is_published() -> None:
    config, model = read(GRID)
    assert config.backbone is not None
    features = fold_network(model.image.backbone)(GRID.inputs["images"])
    local = model.image.image_encoder.fc(features.flatten(2).transpose(1, 2))
    vectors = FixedPooling(model.image.pooling, cells(config.backbone))(local)
    assert_close(functional.normalize(vectors), GRID.expected["image_embedding"])


@torch.inference_mode()
def test_folded_regions_compute_what_is_published() -> None:
    _, model = read(REGIONS)
    local = FoldedRegions(model.image)(REGIONS.inputs["images"])
    assert_close(local, REGIONS.expected["image_locals"])


@torch.inference_mode()
def test_raw_pictures_of_any_size_are_prepared_and_encoded_as_published() -> None:
    config, model = read(GRID)
    assert config.backbone is not None
    prepare = Preprocessing(config.backbone)
    for number, expected in enumerate(GRID.inputs["images"]):
        with Image.open(GRID.folder / "pictures" / f"{number}.png") as picture:
            raw = torch.from_numpy(np.array(picture.convert("RGB")))
        assert_close(prepare(raw)[0], expected, 5e-5)  # on a scale of 0 to 255
        vector = model.encode_images(prepare(raw))[0]
        assert_close(vector, GRID.expected["image_embedding"][number])


@pytest.mark.parametrize("case", [REGIONS, RAGGED, GRID], ids=repr)
def test_captions_become_the_published_word_pieces(case: GoldenCase) -> None:
    ids, lengths = texts(case)
    pieces = read_pieces(case.folder / "vocab.txt", 57)
    found = WordPieceProcessor(pieces, True, ids.shape[1]).token_ids(case.captions)
    assert found[0].tolist() == ids.tolist()
    assert found[1].tolist() == lengths.tolist()


def test_captions_become_the_published_words(tmp_path: Path) -> None:
    ids, lengths = texts(WORDS)
    config, _ = read(WORDS)
    words = read_words(WORDS.folder / "vocab.json", config.vocab_size, appended="<mask>")
    assert words["<mask>"] == config.vocab_size - 1
    found = NltkWordProcessor(words, None, 64).token_ids(WORDS.captions)
    assert found[0].tolist() == ids.tolist()
    assert found[1].tolist() == lengths.tolist()


def random_config(image_dim: int = 5, **options: Any) -> VseInftyConfig:
    return VseInftyConfig(image_dim, 6, **{"text": Words(11, 4), **options})


def random_model(seed: int = 0, **options: Any) -> VseInfty:
    """A small model in float64."""
    torch.manual_seed(seed)
    model = VseInfty(random_config(**options)).double().eval()
    random_norms(model)
    return model


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), padding=st.integers(0, 3))
@torch.inference_mode()
def test_any_number_of_positions_is_pooled_by_the_table(lengths: list[int], padding: int) -> None:
    torch.manual_seed(sum(lengths))
    pooling, counts = Gpo().double(), torch.tensor(lengths)
    features = torch.randn(len(lengths), max(lengths) + padding, 6, dtype=torch.float64)
    tabulated = TabulatedPooling(pooling, 12)
    pooled = tabulated(features, counts)
    torch.testing.assert_close(pooled, pooling(features, counts), rtol=0, atol=1e-12)
    for row, length in enumerate(lengths):
        own = features[row : row + 1, :length]
        alone = FixedPooling(pooling, length)(own)
        torch.testing.assert_close(alone[0], pooled[row], rtol=0, atol=1e-12)
        shuffled = tabulated(own[:, torch.randperm(length)], counts[row : row + 1])
        torch.testing.assert_close(shuffled, alone, rtol=0, atol=1e-12)


def test_a_row_of_the_table_is_exactly_zero_beyond_its_positions() -> None:
    torch.manual_seed(0)
    table = TabulatedPooling(Gpo(), 30).table
    assert table.shape == (30, 30)
    for row in range(30):
        assert (table[row, row + 1 :] == 0).all()
        assert abs(float(table[row].sum()) - 1) < 1e-6
    assert table[0, 0] == 1


def test_an_item_longer_than_the_table_fails() -> None:
    pooling = TabulatedPooling(Gpo(), 3)
    with pytest.raises((IndexError, RuntimeError)):
        pooling(torch.zeros(1, 4, 6), torch.tensor([4]))
    with pytest.raises((IndexError, RuntimeError)):
        pooling(torch.zeros(1, 4, 6), torch.tensor([3]))


@torch.inference_mode()
def test_an_image_scores_the_same_alone_padded_with_anything_and_in_any_order() -> None:
    model, lengths = random_model(), torch.tensor([3, 7, 1])
    regions = torch.randn(3, 7, 5, dtype=torch.float64)
    vectors = model.encode_images(regions, lengths)
    for row, length in enumerate(lengths.tolist()):
        own = regions[row : row + 1, :length]
        torch.testing.assert_close(model.encode_images(own)[0], vectors[row], rtol=0, atol=1e-12)
        turned = model.encode_images(own.flip(1))[0]
        torch.testing.assert_close(turned, vectors[row], rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@torch.inference_mode()
def test_a_caption_scores_the_same_alone_and_with_any_padding(layers: int) -> None:
    model, lengths = random_model(text=Words(11, 4, layers)), torch.tensor([2, 7, 4])
    ids = torch.randint(1, 11, (3, 7))
    vectors = model.encode_texts(ids, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode_texts(ids[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], vectors[row], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_caption_of_word_pieces_scores_the_same_with_any_padding() -> None:
    _, model = read(REGIONS)
    ids, lengths = texts(REGIONS)
    padded = functional.pad(ids, (0, 5))
    assert_close(model.encode_texts(padded, lengths), model.encode_texts(ids, lengths), 1e-6)


@torch.inference_mode()
def test_half_precision_rounds_neither_regions_nor_words() -> None:
    _, model = read(WORDS)
    deployed, (ids, lengths) = VseInftyDeployment(model), texts(WORDS)
    regions = torch.randn(2, 5, WORDS.inputs["images"].shape[2])
    exact = (*deployed.encode_images(regions), *deployed.encode_texts(ids, lengths))
    for precision in ("float16", "bfloat16"):
        with matrix_precision(precision):
            halved = (*deployed.encode_images(regions), *deployed.encode_texts(ids, lengths))
        for one, other in zip(exact, halved, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_image_without_regions_is_refused() -> None:
    with pytest.raises(InputError, match="image 1 has 0 regions"):
        random_model().encode_images(torch.zeros(2, 3, 5).double(), torch.tensor([3, 0]))


def test_a_caption_longer_than_bert_is_refused() -> None:
    config, model = read(REGIONS)
    assert config.longest_text == 40
    with pytest.raises(InputError, match=r"41 tokens.* 40 positions"):
        model.encode_texts(torch.ones(1, 41, dtype=torch.int64), torch.tensor([41]))


@torch.inference_mode()
def test_without_their_norms_vectors_have_any_length() -> None:
    model = random_model(image_norm=False, text_norm=False)
    images = model.encode_images(torch.randn(3, 4, 5, dtype=torch.float64))
    captions = model.encode_texts(torch.randint(1, 11, (3, 4)), torch.full((3,), 4))
    assert (images.norm(dim=1) - 1).abs().min() > 1e-3
    assert (captions.norm(dim=1) - 1).abs().min() > 1e-3
    torch.testing.assert_close(model.match(images, captions), images @ captions.T)


@torch.inference_mode()
def test_folded_regions_are_the_plain_ones() -> None:
    encoder = random_model().image
    regions = torch.randn(2, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(FoldedRegions(encoder)(regions), encoder(regions))


CAFFE = Backbone("detector", 50, 4, tuple(Stage(n, 2 * n, 4 * n) for n in (1, 2, 1, 2)))
RESNEXT = Backbone(
    "imagenet_resnext", 50, 4, tuple(Stage(n, 4 * n, 4 * n, groups=2) for n in (1, 2, 1, 2))
)
NETWORKS = pytest.mark.parametrize("config", [CAFFE, RESNEXT], ids=["caffe", "resnext"])


def network_of(config: Backbone) -> ResidualNetwork:
    torch.manual_seed(0)
    network = ResidualNetwork(config).double().eval()
    random_norms(network)
    return network


@NETWORKS
@torch.inference_mode()
def test_a_network_is_that_of_its_source(config: Backbone) -> None:
    """The page's table, written out: where the stride sits, how the pooling pads."""
    network, resnext = network_of(config), config.is_resnext
    weights = network.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(weights[f"{name}.{part}"] for part in names))

    def conv(x: torch.Tensor, name: str, stride: int = 1, pad: int = 0, groups: int = 1):
        return functional.conv2d(x, weights[f"{name}.weight"], None, stride, pad, 1, groups)

    pictures = torch.randn(2, 3, 50, 50, dtype=torch.float64)
    x = norm(conv(pictures, "base.0", 2, 3), "base.1").relu()
    x = functional.max_pool2d(x, 3, 2, 1 if resnext else 0, ceil_mode=not resnext)
    for number, name in enumerate(("base.4", "base.5", "base.6", "top.0")):
        stage = config.stages[number]
        for block in range(stage.blocks):
            own, stride = f"{name}.{block}", 2 if number and not block else 1
            first, second = (1, stride) if resnext else (stride, 1)
            y = norm(conv(x, f"{own}.conv1", first), f"{own}.bn1").relu()
            y = norm(conv(y, f"{own}.conv2", second, 1, stage.groups), f"{own}.bn2").relu()
            y = norm(conv(y, f"{own}.conv3"), f"{own}.bn3")
            if not block:
                x = norm(conv(x, f"{own}.downsample.0", stride), f"{own}.downsample.1")
            x = (x + y).relu()
    torch.testing.assert_close(network(pictures), x)
    assert cells(config) == x.shape[2] * x.shape[3]


@NETWORKS
@torch.inference_mode()
def test_a_folded_network_is_the_plain_one_without_batch_normalisations(config: Backbone) -> None:
    network = network_of(config)
    folded, pictures = fold_network(network), torch.randn(2, 3, 50, 50, dtype=torch.float64)
    torch.testing.assert_close(folded(pictures), network(pictures), rtol=1e-9, atol=1e-9)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


@pytest.mark.parametrize(
    ("source", "resnext", "detector"),
    [
        ("detector", False, True),
        ("vsepp_detector", False, True),
        ("imagenet", False, False),
        ("imagenet_res50", False, False),
        ("imagenet_res152", False, False),
        ("imagenet_resnext", True, False),
        ("wsl", True, False),
        ("vsepp_wsl", True, False),
    ],
)
def test_a_source_names_its_network_and_its_normalisation(
    source: str, resnext: bool, detector: bool
) -> None:
    backbone = Backbone(source, 64, 4, CAFFE.stages)
    assert (backbone.is_resnext, backbone.from_detector) == (resnext, detector)


@torch.inference_mode()
def test_pictures_are_normalised_as_their_source_says() -> None:
    colour = torch.tensor([10, 100, 200], dtype=torch.uint8).expand(40, 30, 3)
    caffe = Preprocessing(Backbone("detector", 32, 4, CAFFE.stages))(colour)
    assert caffe.shape == (1, 3, 32, 32)
    expected = torch.tensor([200 - 102.9801, 100 - 115.9465, 10 - 122.7717])
    torch.testing.assert_close(caffe[0, :, 5, 7], expected)
    others = Preprocessing(Backbone("wsl", 32, 4, CAFFE.stages))(colour)
    expected = torch.tensor([10 / 255 - 0.485, 100 / 255 - 0.456, 200 / 255 - 0.406])
    expected = expected / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(others[0, :, 31, 0], expected)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.sampled_from([32, 96, 128]))
@torch.inference_mode()
def test_pictures_are_resized_at_exact_positions(height: int, width: int, size: int) -> None:
    torch.manual_seed(height)
    pictures = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    prepare = Preprocessing(Backbone("detector", size, 4, CAFFE.stages))
    exact = functional.interpolate(
        pictures.double().permute(0, 3, 1, 2), size=(size, size), mode="bilinear"
    )
    resized = (prepare(pictures) + prepare.mean).flip(1)
    assert_close(resized, exact, 5e-5)


def test_the_options_that_decide_scores_are_read_from_the_checkpoint() -> None:
    sizes = BertSizes.from_json(RAGGED.bert_config)
    assert read(RAGGED)[0] == VseInftyConfig(image_dim=30, embed_dim=24, text=sizes)
    assert read(WORDS)[0] == VseInftyConfig(image_dim=40, embed_dim=32, text=Words(45, 20))
    stages = [Stage(1, 4, 16), Stage(2, 8, 32), Stage(1, 16, 64), Stage(1, 32, 128)]
    assert read(GRID)[0].backbone == Backbone("detector", 96, 4, tuple(stages))
    scalars = read(GRID)[0].scalars()
    assert scalars["backbone_source"] == "detector"
    assert scalars["stage2_blocks"] == 2
    assert scalars["bert_num_attention_heads"] == 4
    assert json.loads(json.dumps(scalars)) == scalars


def test_a_config_of_a_bert_does_not_go_with_a_bigru() -> None:
    with pytest.raises(CheckpointError, match=r"read by a BiGRU, and bert_config= .* is of a BERT"):
        read_model(WORDS.checkpoint, RAGGED.bert_config)


@ALL
def test_what_the_weights_show_may_be_missing_among_the_options(
    case: GoldenCase, tmp_path: Path
) -> None:
    content, path = case.content(), tmp_path / "model.pth"
    for name in ("img_dim", "embed_size", "word_dim", "num_layers", "vocab_size"):
        vars(content["opt"]).pop(name, None)
    vars(content["opt"]).pop("precomp_enc_type")
    torch.save(content, path)
    assert read(case, path)[0] == read(case)[0]


@pytest.mark.parametrize("case", [REGIONS, WORDS], ids=repr)
def test_a_prefix_of_every_key_does_not_matter(case: GoldenCase, tmp_path: Path) -> None:
    content, path = case.content(), tmp_path / "model.pth"
    content["model"] = [
        {
            key.removeprefix("module.") if key.startswith("module.") else f"module.{key}": weight
            for key, weight in state.items()
        }
        for state in content["model"]
    ]
    torch.save(content, path)
    with torch.inference_mode():
        scores = read(case, path)[1].score(case.inputs["images"], *texts(case))
    assert_close(scores, case.expected["scores"])


def test_a_grid_with_words_is_read(tmp_path: Path) -> None:
    content, path = GRID.content(), tmp_path / "model.pth"
    content["model"][1] = {f"module.{k}": w for k, w in WORDS.content()["model"][1].items()}
    vars(content["opt"]).update(word_dim=20, num_layers=1, vocab_size=45)
    torch.save(content, path)
    config, model = read_model(path)
    assert config.text == Words(45, 20)
    with torch.inference_mode():
        assert_close(model.encode_texts(*texts(WORDS)), WORDS.expected["sentence_embedding"])


PREFIX = "module.backbone."


def test_a_network_that_is_there_once_is_read_by_either_name(tmp_path: Path) -> None:
    for left_out in (("resnet.",), ("base.", "top.")):
        content, path = GRID.content(), tmp_path / "model.pth"
        image = content["model"][0]
        for key in [key for key in image if key.removeprefix(PREFIX).startswith(left_out)]:
            del image[key]
        torch.save(content, path)
        vectors = read(GRID, path)[1].encode_images(GRID.inputs["images"])
        assert_close(vectors.detach(), GRID.expected["image_embedding"])


def test_copies_of_the_network_that_differ_are_refused(tmp_path: Path) -> None:
    content = GRID.content()
    key = f"{PREFIX}resnet.layer2.1.bn2.running_var"
    content["model"][0][key] = content["model"][0][key] + 1
    message = refusal(lambda path: read(GRID, path), content, tmp_path)
    assert "backbone.resnet.layer2.1.bn2.running_var and backbone.base.5.1.bn2" in message


@pytest.mark.parametrize(
    ("case", "part", "key"),
    [
        (REGIONS, 0, "module.mlp.bns.0.running_var"),
        (REGIONS, 0, "module.mlp.layers.1.bias"),
        (REGIONS, 0, "module.gpool.gru.bias_hh_l0_reverse"),
        (REGIONS, 1, "module.linear.bias"),
        (REGIONS, 1, "module.bert.encoder.layer.1.output.LayerNorm.bias"),
        (WORDS, 0, "fc.weight"),
        (WORDS, 1, "embed.weight"),
        (WORDS, 1, "rnn.weight_hh_l0_reverse"),
        (GRID, 0, "module.image_encoder.gpool.linear.weight"),
        (GRID, 0, "module.image_encoder.fc.weight"),
    ],
    ids=str,
)
def test_every_weight_that_is_used_is_demanded(
    case: GoldenCase, part: int, key: str, tmp_path: Path
) -> None:
    content = case.content()
    del content["model"][part][key]
    message = refusal(lambda path: read(case, path), content, tmp_path)
    assert f"missing ['{key.removeprefix('module.')}']" in message


def test_a_weight_of_the_network_is_demanded_under_both_names(tmp_path: Path) -> None:
    content = GRID.content()
    for key in ("resnet.layer3.0.conv3.weight", "base.6.0.conv3.weight"):
        del content["model"][0][f"{PREFIX}{key}"]
    message = refusal(lambda path: read(GRID, path), content, tmp_path)
    assert "missing ['backbone.base.6.0.conv3.weight']" in message


def test_weights_that_no_score_depends_on_may_be_missing(tmp_path: Path) -> None:
    content, path = GRID.content(), tmp_path / "model.pth"
    unused = ("resnet.fc.", "bert.pooler.")
    for state in content["model"]:
        for key in [key for key in state if any(part in key for part in unused)]:
            del state[key]
    content["model"][1]["module.bert.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(content, path)
    assert read(GRID, path)[0] == read(GRID)[0]


@pytest.mark.parametrize(
    ("case", "options", "words"),
    [
        (REGIONS, {"precomp_enc_type": "backbone"}, ("its image part has no backbone.*",)),
        (GRID, {"precomp_enc_type": "basic"}, ("its image part has backbone.*",)),
        (REGIONS, {"precomp_enc_type": "selfattention"}, ("is unknown", "basic, backbone")),
        (GRID, {"backbone_source": "clip"}, ("backbone_source='clip' is unknown",)),
        (GRID, {"input_scale_factor": 0}, ("0 pixels a side", "32 to 4096")),
        (GRID, {"input_scale_factor": float("inf")}, ("not a finite number",)),
        (REGIONS, {"embed_size": 64}, ("its options say",)),
        (WORDS, {"num_layers": 2}, ("missing", "rnn.")),
        (WORDS, {"vocab_size": 44}, ("embed.weight", "[45, 20]", "[44, 20]")),
        (REGIONS, {"no_txtnorm": "no"}, ("no_txtnorm='no'", "bool")),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_named(
    case: GoldenCase, options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    content, path = case.content(), tmp_path / "model.pth"
    vars(content["opt"]).update(options)
    torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        read(case, path)
    for word in words:
        assert word in str(caught.value)


def test_a_network_with_groups_is_not_the_detectors() -> None:
    with pytest.raises(CheckpointError, match="without groups"):
        Backbone("detector", 64, 4, RESNEXT.stages)


def test_text_parts_of_both_kinds_or_none_are_refused(tmp_path: Path) -> None:
    content = REGIONS.content()
    content["model"][1]["module.rnn.weight_ih_l0"] = torch.zeros(2, 2)
    message = refusal(lambda path: read(REGIONS, path), content, tmp_path)
    assert "both of bert.* and rnn.*" in message
    content["model"][1] = {"module.gpool.linear.weight": torch.zeros(1, 32)}
    message = refusal(lambda path: read(REGIONS, path), content, tmp_path)
    assert "neither of bert.* and rnn.*" in message


def test_without_its_config_the_wrong_bert_is_refused() -> None:
    with pytest.raises(CheckpointError, match="--bert-config"):
        read_model(REGIONS.checkpoint)


def test_a_checkpoint_of_another_family_is_recognised() -> None:
    imram = GoldenCase("imram/full_3step").checkpoint
    with pytest.raises(CheckpointError, match="another model, IMRAM"):
        read_model(imram)
    vsrn = GoldenCase("vsrn/coco").checkpoint
    with pytest.raises(CheckpointError, match="not a VSE-infinity checkpoint"):
        read_model(vsrn)
