from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.searches import figures_of, search
from itr_deploy.runtime.timing import StageTimes
from tests.support.items import images, names

SETTING = {"batch": 2, "candidates": 30, "threads": 1, "backend": "onnxruntime"}
TIMES = [
    StageTimes({"encode": 0.010, "match": 0.020}, total=0.034),
    StageTimes({"encode": 0.012, "gather": 0.006, "match": 0.040}, total=0.060),
]


def test_stages_and_rest_add_up_to_the_total() -> None:
    figures = figures_of(TIMES, **SETTING, matched=30).milliseconds
    assert list(figures) == ["encode", "gather", "match", "rest", "total"]
    means = [found.mean for found in figures.values()]
    assert sum(means[:-1]) == pytest.approx(means[-1])
    assert means[-1] == pytest.approx(47)


def test_a_stage_that_a_search_did_not_come_to_took_no_time() -> None:
    gather = figures_of(TIMES, **SETTING, matched=30).milliseconds["gather"]
    assert gather.mean == pytest.approx(3)


def test_throughput_counts_whole_searches_and_the_matcher_alone() -> None:
    figures = figures_of(TIMES, **SETTING, matched=30)
    assert figures.searches == 2
    assert figures.pairs == 60
    assert figures.queries_per_second == pytest.approx(4 / 0.094)
    assert figures.pairs_per_second == pytest.approx(120 / 0.060)


def test_a_query_is_encoded_every_time(
    bundle: Path, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(5), images(5))
    options = Options(
        *("text", (1,), (None,), None, None, (1,), 1, 3),
        *("cpu", "onnxruntime", None, None, False, ()),
    )
    retriever = Retriever.load(bundle, tmp_path / "gallery", **options.loading(1))
    ran, run = [], retriever.matcher.backend.run
    monkeypatch.setattr(
        retriever.matcher.backend,
        "run",
        lambda name, *given: [ran.append(name), run(name, *given)][1],
    )
    for _ in range(3):
        search(retriever, options, ["a dog"], None)
    assert ran.count("text_encoder") == 3
