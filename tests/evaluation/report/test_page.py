from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.evaluate import evaluate
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.report.curves import recall_chart
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.models.registry import published
from tests.support import items

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000a49444154789c6300010000050001"
)


class Page(HTMLParser):
    """Reads a page and fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def split() -> Split:
    names = [f"dog & <{number}>" for number in range(12)]
    return Split("test", items.images(12), names, items.captions(36), 3)


def with_a_win(matcher: Matcher) -> Split:
    """The split with its images turned so that the matcher alone puts a caption's image first."""
    data = split()
    scores = matcher.score(texts=data.captions, images=data.regions)
    images, texts = matcher.encode_images(data.regions), matcher.encode_texts(data.captions)
    coarse = images.embedding @ texts.embedding.T
    best = scores.argmax(axis=0)
    won = int(np.flatnonzero(best != coarse.argmax(axis=0))[0])
    return replace(data, regions=np.roll(data.regions, won // 3 - best[won], axis=0))


@pytest.fixture(scope="module")
def made(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    root = tmp_path_factory.mktemp("page")
    (root / "pictures").mkdir()
    for name in split().image_ids[:10]:
        (root / "pictures" / f"{name}.png").write_bytes(PIXEL)
    options = Options(images=root / "pictures", folds=2, published=published({"imram"}))
    evaluate(matcher, with_a_win(matcher), root / "out", options)
    return root / "out", Page((root / "out/report.html").read_text(encoding="utf-8"))


def test_the_page_needs_nothing_beside_it(made: tuple[Path, Page]) -> None:
    _, page = made
    links = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href")]
    assert links == []
    assert not {"script", "link", "img"} & {tag for tag, _ in page.tags}


def test_the_page_shows_the_figures_of_the_report(made: tuple[Path, Page]) -> None:
    root, page = made
    report = json.loads((root / "evaluation.json").read_text())
    for stage in report["stages"]:
        assert stage["name"] in page.text
        assert f"{stage['recall']['rsum']:.1f}" in page.text
    assert "2 folds of 6 images" in page.text


def test_published_figures_are_there_and_said_to_be_the_papers(made: tuple[Path, Page]) -> None:
    _, page = made
    assert "Full-IMRAM in the paper, Flickr30K 1K test" in page.text
    assert "74.1" in page.text
    assert "were not measured here" in page.text


def test_there_is_a_curve_a_stage_and_direction(made: tuple[Path, Page]) -> None:
    root, page = made
    stages = json.loads((root / "evaluation.json").read_text())["stages"]
    curves = [attrs for tag, attrs in page.tags if tag == "polyline"]
    assert len(curves) == 2 * len(stages) + len(stages)  # and the legend's


def test_examples_have_their_pictures_where_there_are_some_and_names_else(
    made: tuple[Path, Page],
) -> None:
    root, page = made
    shown = [attrs for _, attrs in page.tags if (attrs.get("class") or "").startswith("picture")]
    assert shown
    assert all((attrs["aria-label"] or "").startswith("dog & <") for attrs in shown)
    assert "data:image/png;base64," in (root / "report.html").read_text()


def test_the_curve_of_a_perfect_ranking_runs_along_the_top() -> None:
    chart = recall_chart("text to image", [1, 10, 100], [("matcher", [100.0, 100.0, 100.0])])
    assert chart.lines == [("matcher", [(44.0, 14.0), (245.0, 14.0), (446.0, 14.0)])]
    assert chart.ticks[0] == (1, 44.0)
    assert chart.levels[-1] == (100, 14.0)


def test_nothing_of_the_data_becomes_markup(made: tuple[Path, Page]) -> None:
    root, page = made
    assert "dog & <" in page.text
    assert "dog & <" not in (root / "report.html").read_text(encoding="utf-8")


def test_pictures_are_found_by_id_with_or_without_ending(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PIXEL)
    (tmp_path / "b.jpg").write_bytes(PIXEL)
    pictures = Pictures(tmp_path, ["a.png", "b", "c"])
    assert (pictures.data_uri(0) or "").startswith("data:image/png;base64,iVBOR")
    assert (pictures.data_uri(1) or "").startswith("data:image/jpeg;base64,")
    assert pictures.data_uri(2) is None
    assert Pictures(None, ["a"]).data_uri(0) is None


def test_a_directory_without_any_of_the_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PIXEL)
    with pytest.raises(InputError, match=r"'a' or 'a\.jpg'; check images="):
        Pictures(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="no picture is called"):  # no file can be
        Pictures(tmp_path, ["a" * 300])


def test_an_id_does_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(PIXEL)
    (tmp_path / "out.png").write_bytes(PIXEL)
    assert Pictures(tmp_path / "in", ["a", "../out"]).data_uri(1) is None


def test_pictures_are_checked_before_anything_is_scored(matcher: Matcher, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture is called"):
        evaluate(matcher, split(), tmp_path / "out", Options(images=tmp_path))
    assert not (tmp_path / "out").exists()
