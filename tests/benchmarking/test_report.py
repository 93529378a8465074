"""A benchmark's report as a record equals the one on disk, whose form has not changed."""

from __future__ import annotations

import json

from itr_deploy import BenchReport
from tests.support.reports import REPORTS

TEXT = (REPORTS / "bench.json").read_text()


def test_an_earlier_report_is_read_and_written_as_it_was() -> None:
    report = BenchReport.model_validate_json(TEXT)
    assert json.dumps(report.model_dump(), indent=2, ensure_ascii=False) + "\n" == TEXT


def test_what_was_not_measured_is_none_and_not_in_the_json() -> None:
    asked_for = {"baseline", "trace"}
    less = {key: value for key, value in json.loads(TEXT).items() if key not in asked_for}
    report = BenchReport.model_validate(less)
    assert report.baseline is report.trace is None
    assert report.model_dump().keys() == less.keys()
    assert json.loads(report.model_dump_json())["gallery"]["path"] is None
