"""evaluate --baseline torch: the same figures from the bundle as from PyTorch, for every family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.cases import GoldenCase
from tests.support.command import Outcome, itr_deploy
from tests.support.dime import GATES, I2T, T2I, DimeCase
from tests.support.duals import CAMERA, VSE, VSRN, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL, TEXT
from tests.support.imram import golden_checkpoint, write_checkpoint
from tests.support.lhsc import LHSC
from tests.support.scan import LSE
from tests.support.sgraf import SAF, SGR

IMAGES, PER = 24, 5


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_data(root: Path, regions: int, width: int, captions: list[str]) -> Path:
    """Random images; captions of random words of those given."""
    rng = np.random.default_rng(0)
    words = sorted({word for caption in captions for word in caption.split()})
    root.mkdir()
    np.save(root / "test_ims.npy", rng.standard_normal((IMAGES, regions, width), np.float32))
    lines = [" ".join(rng.choice(words, rng.integers(2, 14))) for _ in range(IMAGES * PER)]
    (root / "test_caps.txt").write_text("\n".join(lines) + "\n")
    return root


def golden_data(root: Path, folder: Path) -> Path:
    with np.load(folder / "inputs.npz") as given:
        regions, width = given["images"].shape[1:]
    captions = (folder / "captions.txt").read_text(encoding="utf-8").splitlines()
    return write_data(root, regions, width, captions)


def evaluate(bundle: Path, data: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("evaluate", bundle, "--data", data, "--output", output, *options)


def check_equal(outcome: Outcome) -> None:
    """Every Recall@K is PyTorch's, exhaustively, over all images and over folds."""
    assert outcome.code == 0, outcome.err
    baseline = outcome.json["baseline"]
    assert baseline["largest_score_difference"] < 1e-4
    for part in ("recall", "folds_mean"):
        found = baseline["difference"][part]
        assert found["rsum"] == pytest.approx(0, abs=1e-9)
        for direction in ("image_to_text", "text_to_image"):
            figures = [found[direction][name] for name in ("r1", "r5", "r10", "median_rank")]
            assert figures == [0, 0, 0, 0]
    assert baseline["recall"]["rsum"] == pytest.approx(outcome.json["recall"]["rsum"])


def test_an_imram_has_pytorchs_figures(bundle: Path, tmp_path: Path) -> None:
    data = golden_data(tmp_path / "data", FULL.folder)
    options = ("--folds", 4, "--baseline", "torch", "--checkpoint", FULL.checkpoint, "--json")
    check_equal(evaluate(bundle, data, tmp_path / "out", *options))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evaluation.json",
        "report.html",
    ]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Against PyTorch" in page


def test_the_baselines_scores_are_kept_with_the_others_and_taken_again(
    bundle: Path, tmp_path: Path
) -> None:
    data = golden_data(tmp_path / "data", FULL.folder)
    options = ("--baseline", "torch", "--checkpoint", FULL.checkpoint, "--save-scores", "--json")
    first = evaluate(bundle, data, tmp_path / "out", *options)
    stored = np.load(tmp_path / "out/baseline/scores.npy")
    assert stored.shape == (IMAGES, IMAGES * PER)
    again = evaluate(bundle, data, tmp_path / "out", *options, "--force")
    assert again.json["baseline"] == first.json["baseline"]


def test_the_baseline_needs_the_bundles_checkpoint(bundle: Path, tmp_path: Path) -> None:
    data = golden_data(tmp_path / "data", FULL.folder)
    other = write_checkpoint(tmp_path / "other.tar")
    content = golden_checkpoint()
    content["epoch"] = -1
    torch.save(content, other)
    out = tmp_path / "out"
    outcome = evaluate(bundle, data, out, "--baseline", "torch", "--checkpoint", other)
    assert outcome.code == 1
    assert "not the checkpoint of" in outcome.error
    twice = ("--checkpoint", FULL.checkpoint, "--checkpoint", FULL.checkpoint)
    outcome = evaluate(bundle, data, out, "--baseline", "torch", *twice)
    assert outcome.code == 2
    assert "was made from 1 checkpoints" in outcome.error
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [("--baseline", "torch"), ("--checkpoint", "x.tar")],
)
def test_baseline_and_checkpoint_go_together(
    bundle: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    outcome = evaluate(bundle, tmp_path, tmp_path / "out", *options)
    assert outcome.code == 2
    assert "go together" in outcome.err


@pytest.mark.slow
@pytest.mark.full
def test_an_ensemble_has_the_figures_of_its_members_weighted_mean_in_pytorch(
    bundle: Path, bundles: Bundles, tmp_path: Path
) -> None:
    members, weights = (bundle, bundles.path(TEXT)), ("--weight", 3, "--weight", 1)
    made = itr_deploy("ensemble", *members, *weights, "--output", tmp_path / "both")
    assert made.code == 0, made.err
    data = golden_data(tmp_path / "data", FULL.folder)
    checkpoints = ("--checkpoint", FULL.checkpoint, "--checkpoint", TEXT.checkpoint)
    options = ("--folds", 4, "--baseline", "torch", *checkpoints, "--json")
    check_equal(evaluate(tmp_path / "both", data, tmp_path / "out", *options))


@pytest.mark.slow
@pytest.mark.parametrize(
    "padding", ["true-length", pytest.param("published", marks=pytest.mark.full)]
)
def test_an_lhsc_has_pytorchs_figures(tmp_path: Path, padding: str, bundles: Bundles) -> None:
    path = bundles.path(LHSC, "--text-padding", padding)
    data = golden_data(tmp_path / "data", LHSC.folder)
    options = ("--folds", 4, "--baseline", "torch", "--checkpoint", LHSC.checkpoint, "--json")
    check_equal(evaluate(path, data, tmp_path / "out", *options))


@pytest.mark.slow
def test_a_scan_has_pytorchs_figures(tmp_path: Path, bundles: Bundles) -> None:
    data = golden_data(tmp_path / "data", LSE.folder)
    options = ("--folds", 4, "--baseline", "torch", "--checkpoint", LSE.checkpoint, "--json")
    check_equal(evaluate(bundles.path(LSE), data, tmp_path / "out", *options))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [pytest.param(T2I, id="t2i"), pytest.param(I2T, id="i2t", marks=pytest.mark.full)],
)
def test_a_dime_has_pytorchs_figures(tmp_path: Path, case: DimeCase, bundles: Bundles) -> None:
    path = bundles.path(case, *GATES)
    data = golden_data(tmp_path / "data", case.folder)
    options = ("--folds", 4, "--baseline", "torch", "--checkpoint", case.checkpoint, "--json")
    outcome = evaluate(path, data, tmp_path / "out", *options)
    check_equal(outcome)
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["bundle"]["family"] == "dime"


@pytest.mark.slow
@pytest.mark.parametrize("case", [VSRN[0], VSE[0], VSE[1], CAMERA[1]], ids=str)
@pytest.mark.full
def test_a_dual_encoder_has_pytorchs_figures(
    tmp_path: Path, case: GoldenCase, bundles: Bundles
) -> None:
    data = golden_data(tmp_path / "data", case.folder)
    regions = case.inputs["images"].shape[1]
    sizes = np.tile(np.array([640.0, 480.0], np.float32), (IMAGES, 1))
    corners = np.random.default_rng(1).uniform(0, 200, (IMAGES, regions, 2))
    boxes = np.concatenate([corners, corners + 100], axis=2).astype(np.float32)
    np.save(data / "test_img_sizes.npy", sizes)
    np.save(data / "test_boxes.npy", boxes)
    options = ("--folds", 4, "--baseline", "torch", "--checkpoint", case.checkpoint, "--json")
    bundle = bundles.of(*export_words(case))
    check_equal(evaluate(bundle, data, tmp_path / "out", *options))


@pytest.mark.slow
@pytest.mark.full
def test_an_sgraf_of_both_modules_has_the_figures_of_their_mean_in_pytorch(
    bundles: Bundles, tmp_path: Path
) -> None:
    made = itr_deploy("ensemble", *map(bundles.path, (SAF, SGR)), "--output", tmp_path / "both")
    assert made.code == 0, made.err
    data = golden_data(tmp_path / "data", SAF.folder)
    checkpoints = ("--checkpoint", SAF.checkpoint, "--checkpoint", SGR.checkpoint)
    options = ("--folds", 4, "--baseline", "torch", *checkpoints, "--json")
    check_equal(evaluate(tmp_path / "both", data, tmp_path / "out", *options))
