"""bench: what it reports; speeds are not checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.benchmarking import cold_start
from tests.support.command import Outcome, itr_deploy, python
from tests.support.golden import FULL
from tests.support.items import captions, names
from tests.support.reports import REPORTS, structure

FIGURES = {"p50", "p95", "p99", "mean"}


@pytest.fixture(autouse=True, scope="module")
def one_cold_start() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cold_start, "STARTS", 1)
        yield


@pytest.fixture(scope="module")
def captions_gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "captions"
    Gallery.create(path, matcher, "text").add(names(20), captions(20))
    return path


def bench(bundle: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("bench", bundle, "--output", output, "--rounds", 2, *options)


@pytest.fixture(scope="module")
def whole(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """A benchmark with all there is but re-ranking, printed as JSON."""
    output = tmp_path_factory.mktemp("bench") / "out"
    settings = ("--batch", "1,3", "--candidates", "10,all", "--threads", "1,2")
    baseline = ("--baseline", "torch", "--checkpoint", FULL.checkpoint)
    extras = ("--trace", *baseline, "--json")
    return bench(bundle, output, "--synthetic", 40, *settings, *extras), output


def test_the_report_is_complete(whole: tuple[Outcome, Path], bundle: Path) -> None:
    outcome, output = whole
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report == json.loads((output / "bench.json").read_bytes())
    earlier = json.loads((REPORTS / "bench.json").read_bytes())
    state = {"files": 1, "versions": 2, "fragments": 1, "deleted_share": 0.0}
    assert structure(report) == structure(earlier | {"gallery": earlier["gallery"] | state})
    assert report["bundle"]["path"] == str(bundle)
    gallery = report["gallery"]
    assert (gallery["items"], gallery["modality"], gallery["path"]) == (40, "image", None)
    assert gallery["resident"] is True
    assert report["cold_start"]["hits"] == 10


def test_every_setting_has_stages_that_add_up(whole: tuple[Outcome, Path]) -> None:
    searches = whole[0].json["searches"]
    varied = [(entry["threads"], entry["batch"], entry["candidates"]) for entry in searches]
    assert varied == [(t, b, c) for t in (1, 2) for b in (1, 3) for c in (10, None)]
    for entry in searches:
        figures = entry["milliseconds"]
        assert all(set(found) == FIGURES for found in figures.values())
        assert ("prefilter" in figures) == (entry["candidates"] is not None)
        parts = sum(found["mean"] for name, found in figures.items() if name != "total")
        assert parts == pytest.approx(figures["total"]["mean"])
        assert entry["searches"] == 2
        assert entry["pairs"] == entry["batch"] * (entry["candidates"] or 40)
        assert entry["queries_per_second"] > 0
        assert entry["pairs_per_second"] > 0


def test_the_trace_lists_matrix_products_and_keeps_the_profiles(
    whole: tuple[Outcome, Path],
) -> None:
    outcome, output = whole
    traced = outcome.json["trace"]["operators"]
    assert set(traced) == {"match_text_to_image", "prefilter_text_to_image"}
    for rows in traced.values():
        assert any("MatMul" in row["operator"] for row in rows)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
    profiles = {path.name for path in (output / "trace").iterdir()}
    assert profiles == {f"{graph}.json" for graph in ("text_encoder", *traced)}
    assert (output / "bench.svg").read_text().startswith("<svg ")


def test_the_baseline_is_timed_beside_searches(whole: tuple[Outcome, Path]) -> None:
    baseline = whole[0].json["baseline"]
    assert baseline["backend"].startswith("PyTorch ")
    assert baseline["items"] == 40
    taken, ratios = baseline["milliseconds"], baseline["ratios"]
    assert ratios["search"] == pytest.approx(taken["plain"] / taken["search"])
    assert ratios["exhaustive"] == pytest.approx(taken["plain"] / taken["exhaustive"])


def test_a_gallery_on_disk_is_searched_with_what_it_takes_and_printed_as_tables(
    bundle: Path, captions_gallery: Path, tmp_path: Path
) -> None:
    options = ("--gallery", captions_gallery, "--on-disk", "--candidates", 8, "-k", 3)
    outcome = bench(bundle, tmp_path / "out", *options)
    assert outcome.code == 0, outcome.err
    assert "20 texts on disk" in outcome.out
    assert "image queries" in outcome.out
    table = outcome.out[outcome.out.index("8 queries, 8 candidates") :]
    stages = ["encode", "shortlist", "gather", "prefilter", "match", "rest", "total"]
    words = [line.split()[0] for line in table.splitlines() if line.strip()]
    assert words[3:10] == stages
    assert "cold start" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("report: ")


def test_an_earlier_benchmark_is_replaced_with_force_alone(
    whole: tuple[Outcome, Path], bundle: Path
) -> None:
    _, output = whole
    refused = bench(bundle, output, "--synthetic", 4)
    assert refused.code == 1
    assert refused.error.endswith("exists; give force=True (--force) to replace this benchmark")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "give gallery= or synthetic= (--gallery, --synth"),
        (
            ("--synthetic", 4, "--gallery", "x"),
            2,
            "give gallery= or synthetic= (--gallery, --synth",
        ),
        (("--synthetic", 4, "--batch", "1,0"), 2, "'0' is not a whole number from 1; give"),
        (("--synthetic", 4, "--candidates", "5,some"), 2, "from 1, or 'all'; give"),
        (("--synthetic", 4, "--rerank"), 2, "--rerank and --bank go together"),
        (("--synthetic", 4, "--baseline", "torch"), 2, "--checkpoint go together"),
        (("--synthetic", 4, "--backend", "tensorrt"), 2, "needs a GPU; give device='cuda'"),
        (("--gallery", "no such place"), 1, "no such place: no such gallery"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    options: tuple[object, ...], code: int, message: str, bundle: Path, tmp_path: Path
) -> None:
    outcome = bench(bundle, tmp_path / "out", *options)
    assert outcome.code == code
    assert message in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_queries_of_the_gallerys_own_modality_are_refused(
    bundle: Path, captions_gallery: Path, tmp_path: Path
) -> None:
    outcome = bench(bundle, tmp_path / "out", "--gallery", captions_gallery, "--query", "text")
    assert outcome.code == 1
    assert outcome.error.endswith("holds texts; search it with query='image' (--query image)")


def test_a_bundle_without_a_re_ranker_is_refused(
    bundle: Path, captions_gallery: Path, tmp_path: Path
) -> None:
    outcome = bench(
        bundle, tmp_path / "out", "--synthetic", 4, "--rerank", "--bank", captions_gallery
    )
    assert outcome.code == 1
    assert outcome.error.endswith("has no re-ranker; add one with itr-deploy export leaprr")


def test_an_empty_gallery_is_refused(bundle: Path, matcher: Matcher, tmp_path: Path) -> None:
    Gallery.create(tmp_path / "empty", matcher)
    outcome = bench(bundle, tmp_path / "out", "--gallery", tmp_path / "empty")
    assert outcome.code == 1
    assert "the gallery is empty" in outcome.error


def test_the_wrong_number_of_checkpoints_is_told_before_anything_is_measured(
    bundle: Path, tmp_path: Path
) -> None:
    twice = ("--checkpoint", FULL.checkpoint) * 2
    outcome = bench(bundle, tmp_path / "out", "--synthetic", 4, "--baseline", "torch", *twice)
    assert outcome.code == 2
    assert "was made from 1 checkpoints" in outcome.error
    assert "searching" not in outcome.err


def test_timing_loads_no_torch() -> None:
    code = """
import sys
import itr_deploy.benchmarking.benchmark
print("loaded:", sorted({"torch", "onnx", "itr_deploy.models"} & sys.modules.keys()))
"""
    assert python(code).out == "loaded: []\n"
