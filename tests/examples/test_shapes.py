"""The shapes world: always the same, in the field's layout, with features from pixels alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.shapes import make_data
from examples.shapes.captions import describe
from examples.shapes.dataset import batches_per_epoch, padded, read_split, shuffled_pairs
from examples.shapes.drawing import draw_scene
from examples.shapes.features import FEATURE_DIM, REGIONS, region_features
from examples.shapes.losses import hinge_loss
from examples.shapes.matched import Mention, holds_its_centre, mentions, overlaps
from examples.shapes.phrases import relation
from examples.shapes.recall import recalls
from examples.shapes.scenes import (
    COLOURS,
    SHAPES,
    SPLIT_SEEDS,
    Object,
    Scene,
    generator,
    sample_scene,
)
from examples.shapes.train_imram import OUTPUT, main, score_batch
from examples.shapes.training import CHECKPOINT_NAME
from examples.shapes.vocabulary import (
    END,
    SPECIAL_WORDS,
    START,
    UNKNOWN,
    build_vocabulary,
    read_vocabulary,
    token_ids,
    words_of,
    write_vocabulary,
)
from itr_deploy.models.imram.checkpoint import load

FILES = ("boxes.npy", "caps.txt", "ids.txt", "img_sizes.npy", "ims.npy")
"""Of a split."""

SEEN = 40
"""Scenes looked at where every one has to hold."""


def scene_of(split: str, index: int) -> Scene:
    return sample_scene(generator(split, index, "scene"))


def captions_of(split: str, index: int) -> list[str]:
    return describe(scene_of(split, index), generator(split, index, "captions"))


def features_of(scene: Scene) -> np.ndarray:
    return region_features(np.asarray(draw_scene(scene, np.random.default_rng(0))))


def one_star(colour: str = "red", shape: str = "star", x: float = 0.3) -> Scene:
    return Scene("cream", (Object(shape, colour, "large", x, 0.3),))


def test_scenes_are_the_same_every_time_and_differ_by_index_and_split():
    assert scene_of("test", 7) == scene_of("test", 7)
    scenes = {scene_of(split, index) for split in SPLIT_SEEDS for index in range(SEEN)}
    assert len(scenes) == len(SPLIT_SEEDS) * SEEN


def test_an_unknown_split_is_named_in_the_error():
    with pytest.raises(ValueError, match="unknown split 'val': choose from train, dev, test"):
        generator("val", 0, "scene")


def test_objects_stay_in_the_picture_and_apart():
    for index in range(SEEN):
        objects = scene_of("train", index).objects
        assert 2 <= len(objects) <= 5
        for i, obj in enumerate(objects):
            assert obj.radius < min(obj.x, obj.y, 1 - obj.x, 1 - obj.y)
            assert all(obj.distance(o) > obj.radius + o.radius for o in objects[:i])


def test_first_captions_of_the_test_split_are_the_committed_ones():
    # A new numpy may draw other numbers: the committed figures then no longer hold.
    assert captions_of("test", 0) == [
        "An orange diamond, an orange square and a blue triangle",
        "A small blue triangle is in the bottom left corner. "
        "A large blue ring is to the right of it.",
        "There are five objects, and a small orange square is on the left.",
        "Two blue shapes and a small orange block.",
        "A tiny blue triangle sits below a rhombus.",
    ]


def test_five_different_captions_of_reasonable_length():
    for index in range(SEEN):
        captions = captions_of("train", index)
        assert len(set(captions)) == 5
        assert all(3 <= len(caption.split()) <= 25 for caption in captions)


def test_relations_are_true():
    left = Object("star", "red", "small", 0.2, 0.5)
    right = Object("ring", "blue", "small", 0.8, 0.5)
    rng = np.random.default_rng(0)
    assert all("left" in relation(left, right, rng) for _ in range(20))
    assert all("right" in relation(right, left, rng) for _ in range(20))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_and_colour_can_be_drawn(shape: str):
    for colour in COLOURS:
        picture = draw_scene(one_star(colour, shape), np.random.default_rng(0))
        assert (picture.mode, picture.size) == ("RGB", (120, 120))


def test_features_have_36_finite_regions_and_repeat():
    features = features_of(scene_of("test", 3))
    assert REGIONS == 36
    assert features.shape == (36, FEATURE_DIM)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features, features_of(scene_of("test", 3)))


@pytest.mark.parametrize(
    "other", [one_star(colour="blue"), one_star(shape="ring"), one_star(x=0.7)]
)
def test_features_change_with_colour_shape_and_place(other: Scene):
    assert np.abs(features_of(one_star()) - features_of(other)).max() > 0.3


def test_features_of_an_empty_picture_are_finite():
    assert np.isfinite(region_features(np.full((120, 120, 3), 200, np.uint8))).all()


def test_features_refuse_another_size():
    with pytest.raises(ValueError, match=r"120 x 120 RGB pixels, not \(64, 64, 3\)"):
        region_features(np.zeros((64, 64, 3), np.uint8))


def test_files_are_laid_out_as_published(small_world: Path):
    features = np.load(small_world / "test_ims.npy")
    assert (features.shape, features.dtype) == ((6, 36, FEATURE_DIM), np.float32)
    captions = (small_world / "test_caps.txt").read_text().splitlines()
    assert captions == [caption for index in range(6) for caption in captions_of("test", index)]
    ids = (small_world / "test_ids.txt").read_text().split()
    assert ids == [f"test_{index:04}" for index in range(6)]
    files = {f"{split}_{name}" for split in ("dev", "test", "train") for name in FILES}
    assert {path.name for path in small_world.iterdir()} == {
        *files, "pictures", "shapes_vocab.json",
    }  # fmt: skip
    pictures = sorted(path.stem for path in (small_world / "pictures").iterdir())
    assert pictures == ids


def test_making_a_split_again_gives_the_same_bytes(small_world: Path, tmp_path: Path):
    make_data.make_split("test", tmp_path, with_pictures=True, size=6)
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (small_world / path.relative_to(tmp_path)).read_bytes()


def test_the_command_makes_the_splits_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(make_data.SPLIT_SIZES, "dev", 2)
    make_data.main(["--output", str(tmp_path), "--splits", "dev"])
    assert {path.name for path in tmp_path.iterdir()} == {f"dev_{name}" for name in FILES}
    assert "dev: 2 pictures" in capsys.readouterr().out


def test_words_are_split_as_the_field_splits_them():
    assert words_of("A star, left of it. A medium-sized box") == [
        "a", "star", ",", "left", "of", "it", ".", "a", "medium-sized", "box",
    ]  # fmt: skip


def test_vocabulary_has_the_published_form(tmp_path: Path):
    word2idx = build_vocabulary(["A star.", "a box"])
    write_vocabulary(word2idx, tmp_path / "vocab.json")
    published = json.loads((tmp_path / "vocab.json").read_text())
    assert published == {
        "word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3,
                     "a": 4, ".": 5, "box": 6, "star": 7},
        "idx2word": {"0": "<pad>", "1": "<start>", "2": "<end>", "3": "<unk>",
                     "4": "a", "5": ".", "6": "box", "7": "star"},
        "idx": 8,
    }  # fmt: skip
    assert read_vocabulary(tmp_path / "vocab.json") == word2idx
    assert token_ids("A moon", word2idx) == [START, 4, UNKNOWN, END]


def test_the_committed_vocabulary_knows_every_word_of_every_split():
    word2idx = read_vocabulary(OUTPUT / make_data.VOCABULARY_NAME)
    assert tuple(word2idx)[:4] == SPECIAL_WORDS
    words = {
        word
        for split in SPLIT_SEEDS
        for index in range(make_data.SPLIT_SIZES["test"])
        for caption in captions_of(split, index)
        for word in words_of(caption)
    }
    assert words <= set(word2idx)


def test_no_batch_holds_two_captions_of_a_picture_and_all_captions_come():
    batches = list(shuffled_pairs(8, 4, torch.Generator().manual_seed(0)))
    assert len(batches) == batches_per_epoch(8, 4) == 10
    for pictures, captions in batches:
        assert len(set(pictures.tolist())) == 4
        assert (captions // 5).tolist() == pictures.tolist()
    assert sorted(torch.cat([captions for _, captions in batches]).tolist()) == list(range(40))


def test_a_split_that_was_not_made_is_said_with_the_command(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"make_data --output .* --splits dev"):
        read_split(tmp_path, "dev")


def test_recall_counts_the_best_caption_of_a_picture_and_ties_as_wrong():
    scores = np.zeros((2, 10), np.float32)
    assert recalls(scores).text_to_image == (0.0, 100.0, 100.0)
    scores[0, 4] = scores[1, 5] = 1
    found = recalls(scores)
    assert found.image_to_text == (100.0, 100.0, 100.0)
    assert found.text_to_image == (20.0, 100.0, 100.0)
    assert found.rsum == 520.0


def test_hinge_loss_of_a_batch_by_hand():
    scores = torch.tensor([[1.0, 0.9, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert hinge_loss(scores, margin=0.2, hardest=True).item() == pytest.approx(0.2 / 3)
    assert hinge_loss(scores, margin=0.2, hardest=False).item() == pytest.approx(0.2 / 6)


@pytest.mark.full
def test_training_twice_gives_the_same_checkpoint_and_it_can_be_evaluated(
    small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, small = (
        ("--data", str(small_world)),
        ("--epochs", "1", "--batch-size", "4", "--threads", "1"),
    )
    for name in ("first", "second"):
        assert main([*data, *small, "--output", str(tmp_path / name)]) == 0
    first, second = (tmp_path / name / CHECKPOINT_NAME for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert "epoch 1: loss" in capsys.readouterr().out
    assert main([*data, "--evaluate", str(first)]) == 0
    assert "test: 6 pictures, 30 captions: image->text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "error: nowhere/train_ims.npy: no such file; make it with"),
        (["--batch-size", "13"], "error: --batch-size 13 is more than the 12 training pictures"),
    ],
)
def test_the_trainer_ends_with_one_line_on_bad_input(
    small_world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
):
    assert main(["--data", str(small_world), "--output", str(tmp_path), *arguments]) == 1
    assert capsys.readouterr().err.startswith(message)


def test_the_committed_checkpoint_is_a_published_one():
    checkpoint = torch.load(OUTPUT / CHECKPOINT_NAME, weights_only=False)
    assert set(checkpoint) == {"epoch", "model", "best_rsum", "opt"}
    assert all(key.startswith("module.") for key in checkpoint["model"])
    opt = vars(checkpoint["opt"])
    word2idx = read_vocabulary(OUTPUT / f"{opt['data_name']}_vocab.json")
    assert (opt["img_dim"], opt["vocab_size"]) == (FEATURE_DIM, len(word2idx))
    assert opt.keys() >= {
        "embed_size", "word_dim", "num_layers", "bi_gru", "no_imgnorm", "no_txtnorm",
        "precomp_enc_type", "model_mode", "iteration_step", "lambda_softmax",
        "raw_feature_norm", "no_IMRAM_norm",
    }  # fmt: skip
    assert (OUTPUT / CHECKPOINT_NAME).stat().st_size < 1_500_000


def test_the_committed_checkpoint_finds_pictures_and_both_forms_score_alike(small_world: Path):
    trained = load(OUTPUT / CHECKPOINT_NAME)
    word2idx = read_vocabulary(OUTPUT / make_data.VOCABULARY_NAME)
    split = read_split(small_world, "test")
    texts = padded([token_ids(caption, word2idx) for caption in split.captions])
    with torch.no_grad():
        plain = trained.plain.score(split.images, *texts)
        batched = score_batch(trained.deployed, split.images, *texts)
    torch.testing.assert_close(batched, plain, rtol=0, atol=1e-5)
    assert recalls(plain.numpy()).text_to_image[0] > 80


def test_the_regions_of_a_split_are_where_their_boxes_say(tmp_path: Path) -> None:
    make_data.make_split("test", tmp_path, with_pictures=False, size=2)
    boxes = np.load(tmp_path / "test_boxes.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "test_img_sizes.npy"), [[120, 120]] * 2)
    assert boxes.shape == (2, REGIONS, 4)
    assert boxes[0, 0].tolist() == [0, 0, 40, 40]
    assert boxes[0, -1].tolist() == [0, 0, 120, 120]
    # A shape stands out in the windows that hold its centre, and in none that it does not touch.
    scene = one_star(x=0.3)
    place = Mention(0, "", ("red", "star"), scene.objects[0], alone=True)
    empty = features_of(Scene(scene.background, ()))
    apart = np.abs(features_of(scene) - empty).max(axis=1)
    touched = np.array([overlaps(box, place.shape) for box in boxes[0]])
    held = np.array([holds_its_centre(box, place.shape) for box in boxes[0]])
    assert apart[held].min() > apart[~touched].max()


def test_a_mention_is_of_one_shape_by_words_that_are_there_once() -> None:
    star, other = one_star().objects[0], one_star("blue", "ring", 0.8).objects[0]
    scene = Scene("grey", (star, other))
    found = list(
        mentions(
            7,
            scene,
            [
                "A red star.",
                "a scarlet star next to a blue hoop",
                "a red thing",  # no shape
                "a green star",  # not there
                "a red star above a red ring",  # which red?
            ],
        )
    )
    assert [(one.words, one.shape.colour, one.alone) for one in found] == [
        (("red", "star"), "red", True),
        (("scarlet", "star"), "red", False),
        (("blue", "hoop"), "blue", False),
    ]
    assert list(mentions(7, Scene("grey", (star, star)), ["A red star."])) == []
