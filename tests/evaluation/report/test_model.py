"""The report as a record equals the report on disk, whose form has not changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import itr_deploy
from itr_deploy import EvaluationReport
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.evaluation.report.model import ShortlistFigures
from tests.cli.conftest import CAPTIONS
from tests.support.command import python
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.reports import REPORTS, structure
from tests.support.threads import one_torch_thread

WHOLE = (REPORTS / "evaluation.json").read_text()


def written(report: EvaluationReport) -> str:
    return json.dumps(report.model_dump(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", sorted(REPORTS.glob("evaluation*.json")), ids=lambda p: p.stem)
def test_an_earlier_report_is_read_and_written_as_it_was(path: Path) -> None:
    report = EvaluationReport.model_validate_json(path.read_text())
    assert written(report) == path.read_text()
    assert json.loads(report.model_dump_json()) == json.loads(path.read_text())


@pytest.mark.full
def test_a_report_with_every_figure_has_the_keys_and_figures_it_always_had(
    bundles: Bundles, tmp_path: Path
) -> None:
    bundle = shutil.copytree(bundles.path(FULL, "--step-scores", "yes"), tmp_path / "bundle")
    pipeline = Pipeline(candidates=2, prefilter=4, image_query_prefilter=2)
    write_manifest(bundle, read_bundle(bundle).manifest.model_copy(update={"pipeline": pipeline}))
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "test_ims.npy", FULL.regions[:6])
    (tmp_path / "data" / "test_caps.txt").write_text("\n".join(CAPTIONS) + "\n")
    with one_torch_thread():
        report = itr_deploy.evaluate(
            bundle,
            data=tmp_path / "data",
            output=tmp_path / "out",
            folds=3,
            steps=True,
            checkpoints=[FULL.checkpoint],
        )
    text = (tmp_path / "out" / "evaluation.json").read_text()
    assert text == written(report)
    found, before = json.loads(text), json.loads(WHOLE)
    assert len(found.pop("request")) == 64
    assert structure(found) == structure(before)
    for key in ("data", "scoring", "recall", "stages", "shortlists", "cascade", "steps", "folds"):
        assert found[key] == before[key], key
    assert found["baseline"]["difference"] == before["baseline"]["difference"]


def test_what_was_not_measured_is_none_and_not_in_the_json() -> None:
    report = EvaluationReport.model_validate_json(
        (REPORTS / "evaluation_shortlist.json").read_text()
    )
    assert report.baseline is report.steps is report.folds is report.cascade is None
    assert not {"baseline", "steps", "folds", "cascade", "rerank"} & report.model_dump().keys()
    row = ShortlistFigures(width=5, r1=1.0, r5=2.0, r10=3.0, share_of_top10_plain=0.5)
    assert list(row.model_dump()) == ["width", "r1", "r5", "r10", "share_of_top10_plain"]


def test_what_may_be_unknown_is_null_in_the_json() -> None:
    report = EvaluationReport.model_validate_json(WHOLE)
    run = report.run.model_copy(update={"peak_memory_bytes": None})
    text = report.model_copy(update={"run": run}).model_dump_json()
    assert json.loads(text)["run"]["peak_memory_bytes"] is None
    assert json.loads(text)["stages"][-1]["widths"] == {
        "image_to_text": None, "text_to_image": None,
    }  # fmt: skip


def test_a_report_of_another_form_is_refused() -> None:
    other = {**json.loads(WHOLE), "schema_version": 2, "more": 1}
    with pytest.raises(ValidationError, match=r"(?s)schema_version.*more"):
        EvaluationReport.model_validate(other)


def test_reading_a_report_needs_no_more_than_pydantic() -> None:
    code = """
import sys
from itr_deploy import BenchReport, EvaluationReport
dear = {"numpy", "torch", "lancedb", "onnxruntime", "jinja2"}
print("loaded:", sorted(dear & sys.modules.keys()))
"""
    assert python(code).out == "loaded: []\n"
