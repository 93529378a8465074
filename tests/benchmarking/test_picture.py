from __future__ import annotations

from xml.etree import ElementTree

import pytest

from itr_deploy.benchmarking.picture import BAR, LEFT, RIGHT, WIDTH, picture
from itr_deploy.benchmarking.report import SearchFigures
from itr_deploy.benchmarking.searches import figures_of
from itr_deploy.runtime.timing import StageTimes

SVG = "{http://www.w3.org/2000/svg}"
TIMES = [StageTimes({"encode": 0.010, "shortlist": 0.001, "match": 0.020}, total=0.034)]


def searched(batch: int, candidates: int | None = 50, threads: int | None = None) -> SearchFigures:
    setting = {"batch": batch, "candidates": candidates, "threads": threads}
    return figures_of(TIMES, **setting, backend="onnxruntime", matched=50)


def test_a_bar_is_a_setting_and_its_parts_fill_it() -> None:
    root = ElementTree.fromstring(picture("1 < 2 & more", [searched(1), searched(8)]))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[0] == "1 < 2 & more"
    assert {"1 query, 50 candidates", "8 queries, 50 candidates", "34.0 ms"} <= set(texts)
    assert {"encode", "shortlist", "match", "rest"} <= set(texts)
    assert "rerank" not in texts
    bars = [float(rect.get("width", 0)) for rect in root.iter(f"{SVG}rect")
            if rect.get("height") == str(BAR)]  # fmt: skip
    assert len(bars) == 2 * 4
    assert sum(bars) == pytest.approx(2 * (WIDTH - LEFT - RIGHT), abs=1)


@pytest.mark.parametrize(
    ("batch", "candidates", "threads", "name"),
    [
        (1, None, None, "1 query, all items"),
        (8, 200, 1, "8 queries, 200 candidates, threads 1"),
    ],
)
def test_a_setting_is_named_by_what_is_varied(
    batch: int, candidates: int | None, threads: int | None, name: str
) -> None:
    assert searched(batch, candidates, threads).setting == name
