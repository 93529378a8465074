from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.store import read_bundle
from itr_deploy.evaluation.tuning import projection
from tests.cli.conftest import CAPTIONS
from tests.support import items
from tests.support.command import Outcome, itr_deploy
from tests.support.files import tree


@pytest.fixture
def split(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    np.save(root / "dev_ims.npy", items.images(40))
    (root / "dev_caps.txt").write_text("\n".join(items.captions(120)) + "\n")
    return root


PLAIN = ("--projection", "none")


def tune(bundle: Path, data: Path, work: Path, *options: object) -> Outcome:
    return itr_deploy("tune", bundle, "--data", data, "--work", work, *options)


def share(
    matcher: Matcher,
    width: int,
    queries: str,
    prefilter: int | None = None,
    refine: int | None = None,
) -> float:
    """Share of the exhaustive top 10 within a search's shortlist, query by query."""
    regions, captions = items.images(40), items.captions(120)
    scores = matcher.score(texts=captions, images=regions)
    images, texts = matcher.encode_images(regions), matcher.encode_texts(captions)
    coarse = images.embedding @ texts.embedding.T
    first = coarse
    if prefilter is not None:
        assert matcher.prefilter is not None
        first = matcher.prefilter.score_all(texts, images).T
    second = first
    if refine is not None:
        assert matcher.refiner is not None
        second = matcher.refiner.score_all(texts, images).T
    if queries == "text":
        scores, coarse, first, second = scores.T, coarse.T, first.T, second.T
    kept = 0
    for row, by_coarse, by_first, by_second in zip(scores, coarse, first, second, strict=True):
        wide = np.argsort(-by_coarse)[:prefilter]
        middle = wide[np.argsort(-by_first[wide])[:refine]]
        shortlist = middle[np.argsort(-by_second[middle])[:width]]
        kept += len(set(np.argsort(-row)[:10]) & set(shortlist))
    return kept / (10 * len(scores))


def test_the_smallest_widths_that_keep_the_target_become_the_bundles(
    without_prefilter: Path, split: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(without_prefilter, tmp_path / "bundle"))
    outcome = tune(bundle, split, tmp_path / "work", "--target", 0.9, *PLAIN, "--json")
    assert outcome.code == 0, outcome.err
    matcher = Matcher.load(bundle)
    pipeline = matcher.bundle.manifest.pipeline
    for query in ("text", "image"):
        found = outcome.json[f"{query}_query"]
        assert pipeline.width(query) == found["width"]
        assert pipeline.prefilter_width(query) is found["prefilter"] is None
        assert share(matcher, found["width"], query) == pytest.approx(found["share"], abs=0.003)
        assert found["share"] >= 0.9 > share(matcher, found["width"] - 1, query) - 0.003
        assert found["before"] == 200
        assert found["share_before"] == 1
    assert not (tmp_path / "work").exists()


def test_with_a_prefilter_both_widths_keep_the_target_and_become_the_bundles(
    bundle_copy: Path, split: Path, matcher: Matcher, tmp_path: Path
) -> None:
    found = {}
    for _ in range(2):
        outcome = tune(bundle_copy, split, tmp_path / "work", "--target", 0.9, *PLAIN, "--json")
        assert outcome.code == 0, outcome.err
        before, found = found, outcome.json
        assert not (tmp_path / "work").exists()
        pipeline = read_bundle(bundle_copy).manifest.pipeline
        for query in ("text", "image"):
            widths = found[f"{query}_query"]
            assert widths["share"] >= 0.9
            kept = share(matcher, widths["width"], query, widths["prefilter"], widths["refine"])
            assert kept == pytest.approx(widths["share"], abs=0.003)
            assert pipeline.width(query) == widths["width"]
            refine = pipeline.refine_width(query)
            assert refine == widths["refine"] or (refine or 0) <= widths["width"]
            if widths["prefilter"] is None:  # timing decides whether it pays at these sizes
                assert (pipeline.prefilter_width(query) or 0) <= widths["width"]
            else:
                assert pipeline.prefilter_width(query) == widths["prefilter"] > widths["width"]
    for query in ("text_query", "image_query"):
        assert found[query]["before"] == before[query]["width"]
        assert found[query]["prefilter_before"] == before[query]["prefilter"]
        assert found[query]["refine_before"] == before[query]["refine"]
        assert found[query]["share_before"] == pytest.approx(before[query]["share"])


def test_a_search_then_takes_the_bundles_width_of_its_direction(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    tune(bundle_copy, split, tmp_path / "work", "--target", 0.9)
    matcher = Matcher.load(bundle_copy)
    pipeline = matcher.bundle.manifest.pipeline
    gallery = Gallery.create(tmp_path / "g", matcher, "text", "float32")
    gallery.add(items.names(120), items.captions(120))
    retriever = Retriever(matcher, gallery)
    query = items.images(3, seed=1)
    found = retriever.search(image=query, k=5)
    width = pipeline.width("image")
    assert width is not None
    prefilter = pipeline.prefilter_width("image")
    refine = pipeline.refine_width("image")
    expected = retriever.search(
        image=query, k=5, candidates=width, prefilter=prefilter, refine=refine
    )
    assert [hits.ids for hits in found] == [hits.ids for hits in expected]


def test_nothing_but_the_pipeline_changes_and_galleries_stay_valid(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "g", Matcher.load(bundle_copy))
    gallery.add(items.names(3), items.images(3))
    before = tree(bundle_copy)
    tune(bundle_copy, split, tmp_path / "work", "--target", 0.9)
    after = tree(bundle_copy)
    changed = {name for name in after if after[name] != before.get(name)}
    projections = read_bundle(bundle_copy).manifest.pipeline.projections
    assert changed == {"manifest.json", *projections.values()}
    assert before.keys() <= after.keys()
    assert len(Retriever.load(bundle_copy, tmp_path / "g").search(CAPTIONS[0], k=3)) == 3


def test_an_evaluation_without_scores_is_as_it_was_after_tuning_beside_it(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    options = ("--data", split, "--split", "dev", "--output", tmp_path / "out")
    assert itr_deploy("evaluate", bundle_copy, *options).code == 0
    before = tree(tmp_path / "out")
    tune(bundle_copy, split, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_the_scores_of_a_saved_evaluation_are_taken_and_stay(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    options = ("--data", split, "--split", "dev", "--save-scores")
    done = itr_deploy("evaluate", bundle_copy, *options, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    before = tree(tmp_path / "out")
    outcome = tune(bundle_copy, split, tmp_path / "out")
    assert "written to" in outcome.out
    assert tree(tmp_path / "out") == before


def test_a_work_directory_with_other_files_is_left_alone(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    before = tree(bundle_copy)
    outcome = tune(bundle_copy, split, tmp_path)
    assert outcome.code == 1
    assert "holds other files" in outcome.error
    assert tree(bundle_copy) == before


@pytest.mark.parametrize("target", [0, 1.5])
def test_a_target_that_is_no_share_is_wrong_usage(
    bundle: Path, split: Path, tmp_path: Path, target: float
) -> None:
    assert tune(bundle, split, tmp_path / "work", "--target", target).code == 2


@pytest.fixture
def always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights leave a projection little to find: it is taken even if it is worse."""
    monkeypatch.setattr(projection, "MARGIN", -9)


@pytest.mark.usefixtures("always_taken")
def test_a_projection_is_taken_shown_and_removed_again(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    told = tune(bundle_copy, split, tmp_path / "work", "--target", 0.9, "--json").json
    named = read_bundle(bundle_copy).manifest.pipeline.projections
    assert set(named) == {"text", "image"}
    for query in ("text_query", "image_query"):
        assert told[query]["projection"]["taken"]
        assert told[query]["projection"]["kept"][0]["width"] == 10
    assert itr_deploy("inspect", bundle_copy, "--json").json["pipeline"].items() >= {
        (f"{query}_query_projection", name) for query, name in named.items()
    }

    shown = tune(bundle_copy, split, tmp_path / "work", "--target", 0.9)
    assert " ".join(shown.out.split()).count("the projection is taken") == 2
    assert read_bundle(bundle_copy).manifest.pipeline.projections == named

    evaluated = itr_deploy(
        *("evaluate", bundle_copy, "--data", split, "--split", "dev", "--json"),
        *("--output", tmp_path / "out"),
    ).json
    ways = {"text": "text_to_image", "image": "image_to_text"}
    for query in named:
        rows = evaluated["shortlists"][ways[query]]
        assert all({"share_of_top10", "share_of_top10_plain"} <= row.keys() for row in rows)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "without the projection" in page

    none = tune(bundle_copy, split, tmp_path / "work", "--target", 0.9, *PLAIN, "--json").json
    assert none["text_query"]["projection"] is none["image_query"]["projection"] is None
    assert not read_bundle(bundle_copy).manifest.pipeline.projections
    assert not list(bundle_copy.glob("coarse_projection*"))


def test_widths_grow_with_the_galleries_to_be_searched(
    without_prefilter: Path, split: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(without_prefilter, tmp_path / "bundle"))
    once, more = (
        tune(bundle, split, tmp_path / "work", *PLAIN, "--growth", growth, "--json").json
        for growth in (1, 1.5)
    )
    for query in ("text_query", "image_query"):
        assert more[query]["width"] == int(np.ceil(1.5 * once[query]["width"]))
        assert more[query]["share"] == once[query]["share"]


@pytest.mark.parametrize("growth", [0.5, "nan", "inf"])
def test_a_growth_that_is_none_is_wrong_usage(
    bundle: Path, split: Path, tmp_path: Path, growth: object
) -> None:
    assert tune(bundle, split, tmp_path / "work", "--growth", growth).code == 2


def test_a_split_too_small_to_fit_is_said_so(bundle_copy: Path, data: Path, tmp_path: Path) -> None:
    outcome = tune(bundle_copy, data, tmp_path / "work")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("too small to fit a projection") == 2


@pytest.mark.usefixtures("always_taken")
def test_scores_of_a_shortlist_are_not_taken_for_those_of_another_projection(
    bundle_copy: Path, split: Path, tmp_path: Path
) -> None:
    def shortlisted(*options: str) -> Outcome:
        command = ("evaluate", bundle_copy, "--data", split, "--split", "dev", "--candidates", 10)
        return itr_deploy(*command, "--output", tmp_path / "out", "--save-scores", *options)

    assert shortlisted().code == 0
    tune(bundle_copy, split, tmp_path / "work")
    (tmp_path / "out" / "evaluation.json").unlink()
    assert "scores of another kind" in shortlisted().error
    assert shortlisted("--force").code == 0
