"""evaluate, on a small data directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.evaluation.measures.recall import ranks, recall
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
