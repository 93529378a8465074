"""The example that starts from picture files: its data, its detector's trainer, its regions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.pictures import extract, make_data, train_detector
from examples.pictures.demo import IMRAM, Matched, Shown, World, coloured, html
from examples.pictures.geometry import deltas_of, grid_of, overlaps, square_anchors
from examples.pictures.judging import judged
from examples.pictures.learning import Learning
from examples.pictures.train_detector import CONFIG, SIDE, Pictures, main, prepared
from examples.pictures.truth import ATTRIBUTES, CLASSES, Objects, annotated, objects_of
from examples.shapes.drawing import draw_scene
from examples.shapes.make_data import VOCABULARY_NAME, picture_and_captions
from examples.shapes.scenes import Object, Scene, generator, sample_scene
from examples.shapes.train_imram import OUTPUT as SHAPES
from examples.shapes.training import CHECKPOINT_NAME
from examples.shapes.vocabulary import read_vocabulary
from itr_deploy.bundle.detector import Sides
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.models.detector.checkpoint import read_network
from itr_deploy.models.detector.network import Network
from itr_deploy.models.detector.plain.boxes import decoded
from itr_deploy.models.detector.plain.boxes import overlaps as plain_overlaps
from itr_deploy.models.detector.plain.pooling import pooled
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.preparing import prepared as runtime_prepared
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.pictures.decode import decoded as decoded_picture
from tests.support.exports import Bundles

SIZES = {"train": 12, "dev": 4, "test": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for split, size in SIZES.items():
        make_data.make_split(split, folder, size)
    return folder


def seen(objects: Objects) -> Detection:
    """A detector that finds exactly these objects."""
    sure = np.ones(len(objects.boxes), np.float32)
    return Detection(
        features=np.ones((len(objects.boxes), 2), np.float32),
        boxes=objects.boxes,
        picture_size=(120, 120),
        classes=objects.classes,
        class_confidence=sure,
        attributes=objects.attributes,
        attribute_confidence=sure,
        enough=True,
    )


def test_splits_are_folders_of_pictures_and_captions(world: Path):
    assert sorted(path.name for path in world.iterdir()) == [
        "dev_caps.txt", "dev_ids.txt", "pictures", VOCABULARY_NAME,
        "test_caps.txt", "test_ids.txt", "train_caps.txt", "train_ids.txt",
    ]  # fmt: skip
    for split, size in SIZES.items():
        files = sorted(make_data.pictures_of(world, split).iterdir())
        ids = (world / f"{split}_ids.txt").read_text().split()
        assert [path.stem for path in files] == ids == [f"{split}_{i:04}" for i in range(size)]
    picture, captions = picture_and_captions("test", 2)
    pixels = decoded_picture(make_data.pictures_of(world, "test") / "test_0002.png", "it")
    np.testing.assert_array_equal(pixels, np.asarray(picture))
    assert (world / "test_caps.txt").read_text().splitlines()[-5:] == captions


def test_the_command_makes_the_splits_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(make_data.SPLIT_SIZES, "dev", 2)
    make_data.main(["--output", str(tmp_path), "--splits", "dev"])
    assert len(list(make_data.pictures_of(tmp_path, "dev").iterdir())) == 2
    assert "dev: 2 pictures" in capsys.readouterr().out


def test_a_box_holds_its_object_and_little_else():
    for shape in CLASSES:
        scene = Scene("cream", (Object(shape, "black", "medium", 0.4, 0.6),))
        dark = np.asarray(draw_scene(scene, np.random.default_rng(0))).max(axis=2) < 90
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        x1, y1, x2, y2 = annotated(scene).boxes[0]
        assert x1 <= columns[0] + 1 <= columns[-1] <= x2 + 1
        assert y1 <= rows[0] + 1 <= rows[-1] <= y2 + 1
        assert x2 - x1 < 2.2 * (columns[-1] - columns[0])
        assert y2 - y1 < 1.5 * (rows[-1] - rows[0])


def test_objects_are_those_of_the_scene():
    scene = sample_scene(generator("dev", 3, "scene"))
    objects = objects_of("dev_0003")
    assert [CLASSES[number] for number in objects.classes] == [o.shape for o in scene.objects]
    assert [ATTRIBUTES[n] for n in objects.attributes] == [o.colour for o in scene.objects]
    middles = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
    np.testing.assert_allclose(middles, [(120 * o.x, 120 * o.y) for o in scene.objects], rtol=1e-5)


def test_boxes_are_regressed_and_compared_as_the_detector_does():
    torch.manual_seed(0)
    anchors, boxes = (
        torch.cat([low, low + 5 + 40 * torch.rand(7, 2)], 1)
        for low in (100 * torch.rand(7, 2), 100 * torch.rand(7, 2))
    )
    found = decoded(anchors, deltas_of(anchors, boxes), 1.0, (1, 1, 1, 1))
    # Caffe takes no pixel off the far ends again.
    torch.testing.assert_close(found, boxes + torch.tensor([0.0, 0.0, 1.0, 1.0]))
    both = overlaps(anchors[None], boxes[None])[0]
    torch.testing.assert_close(both, plain_overlaps(anchors, boxes, 1.0))


def test_anchors_stand_round_the_middles_of_cells():
    grid = grid_of(torch.tensor(square_anchors((16, 32))), 2, 3)
    assert grid.shape == (12, 4)
    assert grid[0].tolist() == [0, 0, 15, 15]
    assert grid[1].tolist() == [-8, -8, 23, 23]
    assert grid[2].tolist() == [16, 0, 31, 15]
    assert grid[6].tolist() == [0, 16, 15, 31]


def test_pictures_are_prepared_as_the_runtime_prepares_them(world: Path):
    path = make_data.pictures_of(world, "test") / "test_0000.png"
    pixels = decoded_picture(path, "it")
    expected = runtime_prepared(pixels, "it", "bua-caffe", Sides(shortest=SIDE, longest=SIDE))
    found = prepared(torch.from_numpy(pixels.copy())[None])
    np.testing.assert_allclose(found[0].numpy(), expected.image, atol=1e-3)


def test_regions_of_several_pictures_are_pooled_as_those_of_one(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    learning = Learning(Network(CONFIG), SIDE)
    monkeypatch.setattr(learning.network.roi_heads, "res5", torch.nn.Identity())
    maps = torch.rand(3, 4, SIDE // 16, SIDE // 16)
    low = (SIDE - 1) * torch.rand(3, 5, 2)
    boxes = torch.cat([low, low + (SIDE - 1 - low) * torch.rand(3, 5, 2)], 2)
    boxes[0, 0] = torch.tensor([0.0, 0.0, SIDE - 1, SIDE - 1])
    boxes[1, 1] = torch.tensor([SIDE - 9.0, SIDE - 9.0, SIDE - 1, SIDE - 1])
    found = learning._features(maps, boxes)
    for place in range(3):
        one = pooled(maps[place], boxes[place]).mean((2, 3))
        torch.testing.assert_close(found[5 * place : 5 * place + 5], one)


def test_a_batch_is_mirrored_with_its_boxes(world: Path):
    torch.manual_seed(0)
    pictures = Pictures(world, "dev")
    batch = pictures.batch(torch.zeros(8, dtype=torch.int64))
    pairs = zip(batch.boxes, batch.images, strict=True)
    kinds = {tuple(boxes[0].tolist()): image for boxes, image in pairs}
    assert len(kinds) == 2
    (one, first), (other, second) = kinds.items()
    assert one[0] + other[2] == pytest.approx(SIDE - 1)
    torch.testing.assert_close(first.flip(2), second)
    assert (batch.classes[0] >= 0).sum() == len(objects_of("dev_0000").boxes)


def test_a_detector_learns_its_pictures(world: Path):
    torch.manual_seed(0)
    pictures = Pictures(world, "dev")
    learning = Learning(Network(CONFIG), SIDE).train()
    optimiser = torch.optim.Adam(learning.parameters(), 4e-3)
    rows, totals = torch.arange(4), []
    for _ in range(12):
        losses = learning.losses(pictures.batch(rows))
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        totals.append(losses.total.item())
    assert all(w.grad.isfinite().all() for w in learning.network.roi_heads.parameters())
    assert np.mean(totals[-3:]) < 0.75 * totals[0]


def test_training_writes_weights_that_the_export_reads(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = tmp_path / "made.pth"
    words = ["--data", str(world), "--output", str(checkpoint), "--epochs", "1"]
    assert main([*words, "--batch-size", "6"]) == 0
    assert "step 2 of 2: objectness" in capsys.readouterr().out
    assert read_network(checkpoint).config == CONFIG


def test_absent_pictures_are_said_with_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--data", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "no such file; make it with python -m examples.pictures.make_data" in said


def test_a_perfect_detector_is_judged_so_and_a_blind_one_too():
    truth = [objects_of("dev_0000"), objects_of("dev_0001")]
    perfect = judged([seen(one) for one in truth], truth)
    count = sum(len(one.boxes) for one in truth)
    assert perfect == (type(perfect))(count, 1.0, 1.0, 1.0)
    # What it knows of the first picture it says of both.
    wrong = judged([seen(truth[0]), seen(truth[0])], truth)
    assert wrong.covered < 1
    assert f"{count} objects, 100.0% of them covered" in str(perfect)


def test_the_committed_detector_is_small_and_sees() -> None:
    from itr_deploy.models.detector.plain import PlainDetector
    from itr_deploy.models.detector.settings import Given, settings_of

    assert train_detector.CHECKPOINT.stat().st_size < 1_000_000
    network = read_network(train_detector.CHECKPOINT)
    given = Given(proposals=60, shortest_side=SIDE, longest_side=2 * SIDE)
    detector = PlainDetector(network, settings_of("bua-caffe", None, given))
    found, truth = [], []
    for index in range(2):
        regions = detector.regions(
            torch.from_numpy(np.asarray(picture_and_captions("test", index)[0]).copy())
        )
        assert regions.attributes is not None
        objects = objects_of(f"test_{index:04}")
        truth.append(objects)
        known = Objects(regions.boxes.numpy(), regions.classes.numpy(), regions.attributes.numpy())
        found.append(seen(known))
    figures = judged(found, truth)
    assert figures.covered > 0.8
    assert min(figures.classes, figures.attributes) > 0.6


def test_words_that_name_a_colour_or_a_shape_are_coloured_in_turn():
    query = "A small red circle, and two blue plus signs."
    words = coloured(query)
    assert "".join(word.text for word in words) == query
    assert [(word.text, word.colour) for word in words if word.colour is not None] == [
        ("red", 0), ("circle", 1), ("blue", 2), ("plus", 3),
    ]  # fmt: skip


def test_the_page_shows_hits_and_what_each_word_looked_at(world: Path):
    read = World.read(world)
    assert read.ids == [f"test_{number:04}.png" for number in range(3)]
    assert read.of_caption(7) == "test_0001.png"
    hits = Hits(tuple(read.ids[:2]), np.array([0.75, 0.5], np.float32), ({}, {}))
    matched = {"test_0000.png": (Matched(0, (10.0, 20.0, 30.0, 40.0)),)}
    page = html([Shown(coloured("red & round"), "test_0002.png", hits, matched)], {1: 50.0}, read)
    assert '<span class="m0">red</span><span> &amp; </span><span>round</span>' in page
    assert '<rect class="m0" x="10.0" y="20.0" width="30.0" height="40.0"/>' in page
    assert page.count("data:image/png;base64,") == 3
    assert "described, not among these: test_0002.png" in page


@pytest.mark.full
def test_the_deployed_detector_writes_a_split(world: Path, bundles: Bundles):
    words = map(str, ("--shortest-side", SIDE, "--longest-side", 2 * SIDE, "--proposals", 64))
    bundle = bundles.of("regions", "--checkpoint", train_detector.CHECKPOINT, *words)
    given = ["--data", str(world), "--detector", str(bundle), "--splits", "test"]
    assert extract.main(given) == 0
    split = read_split(world, "test")
    assert split.regions.shape == (3, 36, CONFIG.feature_dim)
    assert split.extras.boxes.shape == (3, 36, 4)
    assert split.extras.picture_sizes.tolist() == [[120, 120]] * 3


def test_the_committed_matcher_takes_the_committed_detectors_regions():
    trained = load(IMRAM / CHECKPOINT_NAME)
    assert trained.image_dim == read_network(train_detector.CHECKPOINT).config.feature_dim
    assert (IMRAM / CHECKPOINT_NAME).stat().st_size < 1_000_000
    assert read_vocabulary(IMRAM / VOCABULARY_NAME) == read_vocabulary(SHAPES / VOCABULARY_NAME)


@pytest.mark.full
def test_the_demo_goes_from_pictures_to_a_page(tmp_path: Path):
    words = [sys.executable, "-m", "examples.pictures.demo", "--output", str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    recall = re.search(r"over 1250 captions: R@1 ([0-9.]+)", ran.stdout)
    assert recall is not None
    assert float(recall[1]) > 70
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<rect ") > 100
