"""evaluate, on a small data directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.deploy import evaluating
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from tests.cli.conftest import CAPTIONS
from tests.support.command import Outcome, itr_deploy
from tests.support.files import tree
from tests.support.golden import FULL


def evaluate(bundle: Path, data: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("evaluate", bundle, "--data", data, "--output", output, *options)


def test_the_figures_are_those_of_the_matchers_scores(
    bundle: Path, data: Path, matcher: Matcher, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--save-scores", "--json")
    scores = matcher.score(texts=CAPTIONS, images=FULL.regions[:6])
    np.testing.assert_allclose(np.load(tmp_path / "out/scores/scores.npy"), scores, atol=1e-6)
    assert outcome.json["recall"] == recall(ranks(scores, 2)).model_dump()
    assert outcome.json["data"] == {
        "split": "test", "images": 6, "captions": 12, "captions_per_image": 2,
    }  # fmt: skip
    assert outcome.json["run"]["pairs_scored"] == 72
    assert outcome.json["run"]["peak_memory_bytes"] > 10 << 20
    assert json.loads((tmp_path / "out/evaluation.json").read_text()) == outcome.json


def test_without_save_scores_nothing_but_the_report_is_left(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out")
    assert "image to text" in outcome.out
    assert "evaluation.json" in outcome.out
    assert not (tmp_path / "out/scores").exists()


def test_folds_are_reported_beside_the_whole(bundle: Path, data: Path, tmp_path: Path) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--folds", 3, "--json")
    folds = outcome.json["folds"]
    assert folds["count"] == len(folds["each"]) == 3
    each = [fold["rsum"] for fold in folds["each"]]
    assert folds["mean"]["rsum"] == pytest.approx(np.mean(each))
    assert "mean of 2 folds of 3 images" in evaluate(bundle, data, tmp_path / "b", "--folds", 2).out


def test_folds_that_do_not_fit_are_refused_before_anything_is_scored(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--folds", 4)
    assert outcome.code == 2
    assert "6 images cannot be divided into 4 equal folds" in outcome.error
    assert not (tmp_path / "out").exists()


def test_a_finished_evaluation_is_replaced_only_by_force(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    evaluate(bundle, data, tmp_path / "out")
    before = tree(tmp_path / "out")
    outcome = evaluate(bundle, data, tmp_path / "out", "--folds", 2)
    assert outcome.code == 1
    assert "--force" in outcome.error
    assert tree(tmp_path / "out") == before
    assert evaluate(bundle, data, tmp_path / "out", "--force").code == 0


def test_a_finished_evaluation_that_is_asked_for_again_says_so(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    first = evaluate(bundle, data, tmp_path / "out", "--json")
    before = tree(tmp_path / "out")
    outcome = evaluate(bundle, data, tmp_path / "out", "--json")
    assert outcome.code == 0
    assert "finished" in outcome.err
    assert outcome.json == first.json
    assert tree(tmp_path / "out") == before


def test_a_directory_with_other_files_is_left_alone_whatever_is_said(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    outcome = evaluate(bundle, data, tmp_path, "--force")
    assert outcome.code == 1
    assert "not an evaluation" in outcome.error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_saved_scores_are_taken_again_and_stay(bundle: Path, data: Path, tmp_path: Path) -> None:
    first = evaluate(bundle, data, tmp_path / "out", "--save-scores", "--json")
    again = evaluate(bundle, data, tmp_path / "out", "--force", "--folds", 2, "--json")
    assert again.json["run"]["pairs_scored"] == 0
    assert again.json["recall"] == first.json["recall"]
    assert (tmp_path / "out/scores/scores.npy").exists()


def test_scores_of_changed_data_are_not_taken(bundle: Path, data: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(data, tmp_path / "data"))
    evaluate(bundle, changed, tmp_path / "out", "--save-scores")
    np.save(changed / "test_ims.npy", FULL.regions + 1)
    outcome = evaluate(bundle, changed, tmp_path / "out", "--force", "--json")
    assert outcome.json["run"]["pairs_scored"] == 72
    (tmp_path / "out/evaluation.json").unlink()
    evaluate(bundle, changed, tmp_path / "other", "--save-scores")
    (tmp_path / "other/evaluation.json").unlink()
    refused = evaluate(bundle, data, tmp_path / "other")
    assert refused.code == 1
    assert "scores of another data" in refused.error


def test_data_that_does_not_fit_the_bundle_is_one_line(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "test_ims.npy", np.zeros((2, 4, 5), np.float32))
    (tmp_path / "test_caps.txt").write_text("a\nb\n")
    outcome = evaluate(bundle, tmp_path, tmp_path / "out")
    assert outcome.code == 1
    assert "5 features each" in outcome.error
    assert not (tmp_path / "out").exists()


def test_a_shortlist_scores_fewer_pairs_and_ranks_as_the_exhaustive_run_says(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    few = evaluate(bundle, data, tmp_path / "few", "--candidates", 3, "--json").json
    assert few["scoring"] == "shortlist of 3"
    assert few["run"]["pairs_scored"] < 72
    assert [row["width"] for row in few["shortlists"]["text_to_image"]] == [3]
    assert "share_of_top10" not in few["shortlists"]["text_to_image"][0]
    assert [stage["widths"]["image_to_text"] for stage in few["stages"]] == [0, 3]
    all_ = evaluate(bundle, data, tmp_path / "all", "--exhaustive", "--json").json
    assert [stage["name"] for stage in all_["stages"]][-1] == "matcher, every item"
    assert all_["stages"][0] == few["stages"][0]


def test_what_a_prefilter_keeps_is_reported_where_searches_have_one(
    bundle: Path, bundle_copy: Path, data: Path, tmp_path: Path
) -> None:
    manifest = read_bundle(bundle_copy).manifest
    pipeline = Pipeline(candidates=2, prefilter=4, image_query_prefilter=2)
    write_manifest(bundle_copy, manifest.model_copy(update={"pipeline": pipeline}))
    outcome = evaluate(bundle_copy, data, tmp_path / "out", "--json")
    found = outcome.json["cascade"]
    assert found["image_to_text"] == []
    (row,) = found["text_to_image"]
    assert (row["prefilter"], row["width"]) == (4, 2)
    assert 0 < row["share_of_top10"] < 1
    name = "matcher, shortlist of 2 by a prefilter of 4 images or no captions"
    assert [stage["name"] for stage in outcome.json["stages"]][1] == name
    assert "2 candidates of 4 by the prefilter" in (tmp_path / "out/report.html").read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "report.html",
    }
    shown = evaluate(bundle_copy, data, tmp_path / "out", "--force", "--save-scores")
    assert "2 of 4 prefiltered" in shown.out
    assert np.load(tmp_path / "out/prefilter/scores.npy").shape == (6, 12)
    assert "cascade" not in evaluate(bundle, data, tmp_path / "plain", "--json").json


def test_scores_of_a_shortlist_are_not_taken_for_all(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    evaluate(bundle, data, tmp_path / "out", "--candidates", 3, "--save-scores")
    (tmp_path / "out/evaluation.json").unlink()
    outcome = evaluate(bundle, data, tmp_path / "out")
    assert outcome.code == 1
    assert "scores of another kind" in outcome.error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--exhaustive", "--candidates", 3), "give one"),
        (("--candidates", 0), "--candidates"),
        (("--candidates", 3, "--folds", 2), "without a shortlist"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    bundle: Path, data: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", *options)
    assert outcome.code == 2
    assert message in outcome.error


COUNTS = [3, 0, 2, 5, 1, 1]
"""Captions of the six images."""


@pytest.fixture
def unequal(data: Path, tmp_path: Path) -> Path:
    """The data with other numbers of captions: one image has none."""
    copy = Path(shutil.copytree(data, tmp_path / "unequal"))
    names = (copy / "test_ids.txt").read_text().splitlines()
    lines = [name for name, count in zip(names, COUNTS, strict=True) for _ in range(count)]
    (copy / "test_caps_image_ids.txt").write_text("\n".join(lines) + "\n")
    return copy


def plain_figures(scores: np.ndarray, counts: list[int]) -> dict[str, dict[str, float]]:
    """R@1, R@5 and R@10 by sorting, as the field's programs do, for any numbers of captions."""
    image_of = np.repeat(np.arange(len(counts)), counts)
    best = [
        min(np.flatnonzero(image_of[np.argsort(-row)] == image)) + 1
        for image, row in enumerate(scores)
        if image in image_of
    ]
    own = [
        int(np.flatnonzero(np.argsort(-column) == image)[0]) + 1
        for column, image in zip(scores.T, image_of, strict=True)
    ]
    return {
        name: {
            "r1": 100 * np.mean(np.array(found) <= 1),
            "r5": 100 * np.mean(np.array(found) <= 5),
            "r10": 100 * np.mean(np.array(found) <= 10),
            "median_rank": np.floor(np.median(found)),
            "mean_rank": np.mean(found),
        }
        for name, found in (("image_to_text", best), ("text_to_image", own))
    }


def assert_figures(found: dict, scores: np.ndarray, counts: list[int]) -> None:
    for direction, figures in plain_figures(scores, counts).items():
        assert found[direction] == pytest.approx(figures)


def test_figures_of_any_numbers_of_captions_are_those_of_the_scores(
    bundle: Path, unequal: Path, tmp_path: Path
) -> None:
    options = ("--save-scores", "--folds", 3, "--json")
    outcome = evaluate(bundle, unequal, tmp_path / "out", *options)
    assert outcome.code == 0, outcome.err
    assert "1 of 6 images have no captions" in outcome.err
    scores = np.load(tmp_path / "out/scores/scores.npy")
    assert_figures(outcome.json["recall"], scores, COUNTS)
    ends = np.concatenate([[0], np.cumsum(COUNTS)])
    for number, fold in enumerate(outcome.json["folds"]["each"]):
        own = slice(2 * number, 2 * number + 2)
        part = scores[own, ends[own.start] : ends[own.stop]]
        assert_figures(fold, part, COUNTS[own])
    assert outcome.json["data"] == {
        "split": "test", "images": 6, "captions": 12, "images_without_captions": 1,
    }  # fmt: skip
    shown = evaluate(bundle, unequal, tmp_path / "shown").out
    assert "6 images, 12 captions, 1 images without" in shown


def test_stages_of_any_numbers_of_captions_agree_where_they_rank_alike(
    bundle: Path, unequal: Path, tmp_path: Path
) -> None:
    few = evaluate(bundle, unequal, tmp_path / "few", "--candidates", 12, "--json").json
    every = evaluate(bundle, unequal, tmp_path / "all", "--json").json
    assert few["recall"] == every["recall"]
    assert few["stages"][0] == every["stages"][0]


def test_an_unfinished_evaluation_of_other_images_is_not_continued(
    bundle: Path, unequal: Path, data: Path, tmp_path: Path
) -> None:
    evaluate(bundle, data, tmp_path / "out", "--save-scores")
    (tmp_path / "out/evaluation.json").unlink()
    refused = evaluate(bundle, unequal, tmp_path / "out")
    assert refused.code == 1
    assert "scores of another data" in refused.error


def test_the_first_captions_are_evaluated_with_their_images(
    bundle: Path, data: Path, matcher: Matcher, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--first", 8, "--folds", 2, "--json")
    scores = matcher.score(texts=CAPTIONS[:8], images=FULL.regions[:4])
    assert outcome.json["recall"] == recall(ranks(scores, 2)).model_dump()
    assert outcome.json["data"] == {
        "split": "test", "images": 4, "captions": 8, "captions_per_image": 2, "first": 8,
    }  # fmt: skip
    assert len(outcome.json["folds"]["each"]) == 2


def test_an_evaluation_of_other_first_captions_is_not_taken(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    evaluate(bundle, data, tmp_path / "out", "--first", 8, "--save-scores")
    finished = evaluate(bundle, data, tmp_path / "out", "--first", 10)
    assert finished.code == 1
    assert "finished evaluation of another bundle, data or options" in finished.error
    (tmp_path / "out/evaluation.json").unlink()
    for options in ((), ("--first", 10)):
        unfinished = evaluate(bundle, data, tmp_path / "out", *options)
        assert unfinished.code == 1
        assert "scores of another data" in unfinished.error
    again = evaluate(bundle, data, tmp_path / "out", "--first", 8, "--json")
    assert again.json["run"]["pairs_scored"] == 0


@pytest.mark.parametrize(
    ("first", "message"),
    [(7, "give 6 or 8"), (14, "more than the split's 12 captions"), (0, "--first")],
)
def test_first_captions_that_there_are_not_are_wrong_usage(
    bundle: Path, data: Path, tmp_path: Path, first: int, message: str
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--first", first)
    assert outcome.code == 2
    assert message in outcome.error
    assert not (tmp_path / "out").exists()


def test_captions_come_from_karpathys_file(bundle: Path, data: Path, tmp_path: Path) -> None:
    images = [
        {
            "filename": name,
            "imgid": number,
            "split": "test",
            "sentences": [{"raw": text} for text in CAPTIONS[2 * number : 2 * number + 2]],
        }
        for number, name in enumerate((data / "test_ids.txt").read_text().splitlines())
    ]
    images[0]["sentences"] *= 3  # type: ignore[operator]
    path = tmp_path / "karpathy.json"
    path.write_text(json.dumps({"images": images[::-1]}))
    outcome = evaluate(bundle, data, tmp_path / "out", "--captions", path, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["data"] == {"split": "test", "images": 6, "captions": 16}
    usual = evaluate(bundle, data, tmp_path / "usual", "--save-scores", "--json")
    scores = np.load(tmp_path / "usual/scores/scores.npy")[:, [0, 1, 0, 1, 0, 1, *range(2, 12)]]
    assert outcome.json["recall"] == recall(ranks(scores, Answers.of([6, *[2] * 5]))).model_dump()
    assert usual.json["recall"]["text_to_image"] != outcome.json["recall"]["text_to_image"]


def test_published_figures_stand_beside_those_of_the_same_test_set(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"f30k": [FLICKR], "coco": [COCO_1K, COCO_5K]}
    monkeypatch.setattr(evaluating, "_protocols", lambda name, split, folds: found[name])
    outcome = evaluate(bundle, data, tmp_path / "out", "--published", "f30k")
    assert "published, Flickr30K 1K test" in outcome.out
    assert "74.1 / 93.0 / 96.6" in outcome.out
    report = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert [row["rsum"] for row in report["published"]] == [484.2]
    assert "Full-IMRAM" in (tmp_path / "out/report.html").read_text()
    coco = evaluate(bundle, data, tmp_path / "coco", "--published", "coco")
    assert "no published figures of this model" in coco.out
    assert "Full-IMRAM" not in (tmp_path / "coco/report.html").read_text()


def test_figures_of_another_test_set_are_not_shown(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--published", "coco", "--folds", 3)
    assert outcome.code == 2
    assert "of 5000 images and 25000 captions; this split has 6 and 12" in outcome.error
    assert not (tmp_path / "out").exists()


def test_the_mean_with_saved_scores_ranks_as_an_ensemble(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    evaluate(bundle, data, tmp_path / "one", "--save-scores")
    path = tmp_path / "one/scores/scores.npy"
    own, other = np.load(path), np.load(path)[::-1].copy()
    replaced = Path(shutil.copytree(tmp_path / "one", tmp_path / "two"))
    rewrite(replaced / "scores", other)
    options = ("--mean-with", replaced, "--folds", 2, "--json")
    outcome = evaluate(bundle, data, tmp_path / "both", *options)
    assert outcome.code == 0, outcome.err
    mean = (own + other) / 2
    assert outcome.json["recall"] == recall(ranks(mean, 2)).model_dump()
    assert outcome.json["stages"][-2]["recall"] == recall(ranks(own, 2)).model_dump()
    assert outcome.json["stages"][-1]["name"] == "mean with saved scores"
    assert outcome.json["scoring"] == "exhaustive, mean of 2 models"
    fold = recall(ranks(mean[3:, 6:], 2)).model_dump()
    assert outcome.json["folds"]["each"][1] == fold
    shown = evaluate(bundle, data, tmp_path / "both", "--force", *options[:2])
    assert "this bundle alone" in shown.out


def rewrite(root: Path, scores: np.ndarray) -> None:
    """Make a kept matrix hold other scores."""
    matrix = ScoreMatrix.kept(root)
    (root / "tiles.txt").write_text("")
    for number in range(len(matrix.grid)):
        rows, columns = matrix.grid.tile(number)
        matrix.write(number, scores[None, rows, columns])


def test_saved_scores_that_do_not_fit_are_one_line(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    def refused(other: Path, *options: object, out: str = "out") -> str:
        outcome = evaluate(bundle, data, tmp_path / out, "--mean-with", other, *options)
        assert outcome.code != 0
        return outcome.error

    evaluate(bundle, data, tmp_path / "plain")
    assert "no saved scores" in refused(tmp_path / "plain")
    evaluate(bundle, data, tmp_path / "part", "--save-scores", "--first", 8)
    assert "scores of 4 images and 8 captions; this split has 6" in refused(tmp_path / "part")
    evaluate(bundle, data, tmp_path / "few", "--save-scores", "--candidates", 3)
    assert "scores of a shortlist" in refused(tmp_path / "few")
    evaluate(bundle, data, tmp_path / "one", "--save-scores")
    assert "is the output itself" in refused(tmp_path / "one", out="one")
    assert "give it without" in refused(tmp_path / "one", "--candidates", 3)
    (tmp_path / "one/scores/tiles.txt").write_text("")
    assert "0 of 1 tiles of scores are finished" in refused(tmp_path / "one")


def test_scores_by_other_features_are_taken_with_a_warning(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(data, tmp_path / "data"))
    np.save(changed / "test_ims.npy", FULL.regions + 1)
    evaluate(bundle, changed, tmp_path / "other", "--save-scores")
    outcome = evaluate(bundle, data, tmp_path / "out", "--mean-with", tmp_path / "other")
    assert outcome.code == 0, outcome.err
    assert "taken as those of the same images and captions" in outcome.err


def test_a_matcher_that_tells_no_images_apart_is_told(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    alike = Path(shutil.copytree(data, tmp_path / "data"))
    np.save(alike / "test_ims.npy", np.repeat(FULL.regions[:1], 6, axis=0))
    outcome = evaluate(bundle, alike, tmp_path / "out", "--json")
    assert outcome.code == 0
    assert "all images score alike" in outcome.json["warning"]
    assert outcome.json["warning"] in outcome.err
    assert "all images score alike" in (tmp_path / "out/report.html").read_text()
    assert "warning" not in evaluate(bundle, data, tmp_path / "sound", "--json").json
