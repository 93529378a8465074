"""The page of what matched: every word and every region, without scripts, from the command too."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import itr_deploy
from itr_deploy import Explanation, Gallery, Matcher, Regions, Retriever
from itr_deploy.errors import InputError, OutputError, UsageError
from itr_deploy.runtime.encoding.places import random_places
from tests.support.command import itr_deploy as command
from tests.support.golden import FULL
from tests.support.items import images, names

COUNT, CAPTION = 4, FULL.captions[0]
ODD = 'a <script>alert(1)</script> & "dog"'


class Found(HTMLParser):
    """Elements of a page with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def given() -> Regions:
    return Regions(images(COUNT), *random_places(np.random.default_rng(1), COUNT, 5))


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, given: Regions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "gallery"
    made = Gallery.create(path, matcher)
    made.add(names(COUNT), given, {"file": [f"in/{name}.png" for name in names(COUNT)]})
    return path


@pytest.fixture(scope="module")
def photos(given: Regions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the sizes that the boxes were made for, by id and in a folder, by column."""
    root = tmp_path_factory.mktemp("photos")
    (root / "in").mkdir()
    for name, size in zip(names(COUNT), np.asarray(given.picture_sizes).astype(int), strict=True):
        picture = Image.new("RGB", (int(size[0]), int(size[1])), "teal")
        picture.save(root / f"{name}.jpg")
        picture.save(root / "in" / f"{name}.png")
    return root


def written(bundle: Path, gallery: Path, output: Path, *queries: str, **options: object) -> str:
    itr_deploy.search(
        bundle, list(queries), gallery=gallery, k=2, explain=True, output=output, **options
    )
    return output.read_text(encoding="utf-8")


def test_every_word_of_every_hit_can_be_chosen_and_lights_regions(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path
) -> None:
    page = Found(written(bundle, gallery, tmp_path / "page.html", CAPTION, ODD, pictures=photos))
    words = [len(Matcher.load(bundle).text.tokens(text)) for text in (CAPTION, ODD)]
    radios = page.of("input")
    assert len(radios) == sum(words)
    assert {radio["type"] for radio in radios} == {"radio"}
    assert [label["for"] for label in page.of("label")] == [radio["id"] for radio in radios]
    groups = {radio["name"] for radio in radios}
    assert len(groups) == 2
    for group in groups:
        assert sum("checked" in radio for radio in radios if radio["name"] == group) == 1
    assert len(page.of("svg")) == 4
    lit = page.of("rect")
    assert len(lit) >= 2 * len(radios)
    assert all(0 <= float(rect["opacity"] or "x") <= 1 for rect in lit)


def test_a_page_is_one_file_without_scripts_that_loads_nothing(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path
) -> None:
    text = written(bundle, gallery, tmp_path / "page.html", ODD, CAPTION, pictures=photos)
    page = Found(text)
    known = {tag for tag, _ in page.tags}
    assert known.isdisjoint({"script", "link", "iframe", "object", "form"})
    assert not any(name.startswith("on") for _, own in page.tags for name in own)
    outside = re.findall(r"(?:src|href)=|url\((?!\"data:)|@import|https?:", text)
    assert outside == []
    policy = next(own["content"] for own in page.of("meta") if "http-equiv" in own)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    # Both queries find the same pictures, each of which is there once.
    assert text.count("data:image/jpeg") <= COUNT


def test_boxes_are_where_the_gallery_has_them(
    bundle: Path, gallery: Path, photos: Path, given: Regions, tmp_path: Path
) -> None:
    page = Found(written(bundle, gallery, tmp_path / "page.html", CAPTION, pictures=photos))
    corners = np.asarray(given.boxes).reshape(-1, 4)
    for rect in page.of("rect"):
        x, y, width, height = (float(rect[name] or "x") for name in ("x", "y", "width", "height"))
        close = np.abs(corners - [x, y, x + width, y + height]).max(axis=1)
        assert close.min() < 0.2


def test_without_pictures_a_table_has_every_weight_and_box(
    bundle: Path, gallery: Path, given: Regions, tmp_path: Path
) -> None:
    text = written(bundle, gallery, tmp_path / "page.html", CAPTION)
    page = Found(text)
    assert page.of("svg") == []
    assert all("open" in own for own in page.of("details"))
    words = len(Matcher.load(bundle).text.tokens(CAPTION))
    assert len(page.of("td")) == 2 * (5 + 1) * words
    box = ", ".join(str(round(float(value))) for value in np.asarray(given.boxes)[0, 0])
    assert f"0: {box}" in text or "item0000" not in text


def test_images_without_boxes_have_a_table_too(bundle: Path, photos: Path, tmp_path: Path) -> None:
    Gallery.create(tmp_path / "plain", Matcher.load(bundle)).add(names(COUNT), images(COUNT))
    page = Found(written(bundle, tmp_path / "plain", tmp_path / "p.html", "a", pictures=photos))
    assert page.of("svg") == []
    assert len(page.of("table")) == 2


def test_a_hit_of_which_nothing_can_be_told_says_why(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DIME has where it closes the gates behind its attention for a pair."""
    explain = Retriever.explain

    def closed(self: Retriever, query: str, id: str) -> Explanation:
        if query == ODD or id == first:
            raise InputError("nothing attends in this pair")
        return explain(self, query, id)

    first = Retriever.load(bundle, gallery).search(CAPTION, k=1)[0].id
    monkeypatch.setattr(Retriever, "explain", closed)
    text = written(bundle, gallery, tmp_path / "p.html", CAPTION, ODD, pictures=photos)
    assert text.count("Nothing attends in this pair.") == 3
    assert len(Found(text).of("svg")) == 1


def test_a_column_names_the_pictures(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path
) -> None:
    only = photos / "in"
    with pytest.raises(InputError, match=r"no picture is called as a hit, for example 'in/item"):
        written(bundle, gallery, tmp_path / "a", "a", pictures=only, picture_names="file")
    text = written(bundle, gallery, tmp_path / "b.html", "a", pictures=photos, picture_names="file")
    assert len(Found(text).of("svg")) == 2


def test_a_broken_picture_is_a_warning_and_its_hit_a_table(
    bundle: Path, gallery: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "photos"
    broken.mkdir()
    for name in names(COUNT):
        (broken / f"{name}.png").write_bytes(b"no picture")
    page = Found(written(bundle, gallery, tmp_path / "page.html", "a", pictures=broken))
    assert page.of("svg") == []
    assert "it is not shown" in caplog.text


def test_pictures_of_every_kind_that_is_indexed_are_shown(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, ending in zip(names(COUNT), ("bmp", "tiff", "jpe", "png"), strict=True):
        kind = "JPEG" if ending == "jpe" else ending.upper()
        Image.open(photos / f"{name}.jpg").save(tmp_path / f"{name}.{ending}", kind)
        if ending == "png":
            (tmp_path / f"{name}.heic").write_bytes(b"not decoded")
    output = tmp_path / "page.html"
    itr_deploy.search(
        bundle, "a", gallery=gallery, k=COUNT, explain=True, pictures=tmp_path, output=output
    )
    assert len(Found(output.read_text()).of("svg")) == COUNT
    assert caplog.text == ""


def test_hits_without_a_picture_are_a_warning_and_tables(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = itr_deploy.search(bundle, "a", gallery=gallery, k=2)[0]
    shown, lacking = found.ids
    (tmp_path / f"{shown}.jpg").write_bytes((photos / f"{shown}.jpg").read_bytes())
    page = Found(written(bundle, gallery, tmp_path / "page.html", "a", pictures=tmp_path))
    assert len(page.of("svg")) == 1
    assert f"has no picture of 1 of 2 hits, for example {lacking!r}" in caplog.text


def test_a_picture_as_query_has_no_words_to_explain(bundle: Path, gallery: Path) -> None:
    with pytest.raises(UsageError, match=r"give queries, not image="):
        itr_deploy.search(bundle, gallery=gallery, image="a.npy", explain=True, output="o")


def test_a_picture_of_other_proportions_than_its_boxes_is_a_warning(
    bundle: Path, gallery: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in names(COUNT):
        Image.new("RGB", (10, 90)).save(tmp_path / f"{name}.png")
    written(bundle, gallery, tmp_path / "page.html", "a", pictures=tmp_path)
    assert "its boxes were made for" in caplog.text


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"output": "page.html"}, UsageError, "give explain=True"),
        ({"pictures": "photos"}, UsageError, "give explain=True"),
        ({"explain": True}, UsageError, r"give its file, output= \(--output\)"),
        ({"explain": True, "output": "o", "pictures": "no"}, InputError, "no: no such directory"),
        ({"explain": True, "output": "o", "pictures": "taken"}, InputError, "taken: a file; give"),
        ({"explain": True, "output": ".", "force": True}, OutputError, "is a directory; give"),
        ({"explain": True, "output": "o", "picture_names": "file"}, UsageError, "is for pictures="),
        (
            {"explain": True, "output": "o", "pictures": ".", "picture_names": "name"},
            UsageError,
            r"picture_names='name' .* has file",
        ),
        ({"explain": True, "output": "taken"}, OutputError, "taken exists; give force=True"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_search(
    options: dict[str, object],
    kind: type[Exception],
    said: str,
    bundle: Path,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("mine")
    with pytest.raises(kind, match=said):
        itr_deploy.search(bundle, "a", gallery=gallery, **options)  # type: ignore[arg-type]
    assert Path("taken").read_text() == "mine"
    assert not Path("o").exists()


def test_a_search_that_finds_nothing_has_an_empty_page(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path
) -> None:
    text = written(bundle, gallery, tmp_path / "p.html", "a", pictures=photos, where="id = 'other'")
    assert "No hits." in text


def test_the_command_prints_hits_and_writes_the_page(
    bundle: Path, gallery: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "page.html"
    words = ("search", bundle, CAPTION, "--gallery", gallery, "-k", "2", "--explain")
    shown = command(*words, "--pictures", photos, "--output", output)
    assert shown.code == 0, shown.err
    assert f"page: {output}" in shown.out
    assert "item" in shown.out
    assert len(Found(output.read_text()).of("svg")) == 2
    again = command(*words, "--output", output)
    assert again.code != 0
    found = command(*words, "--output", output, "--force", "--json")
    assert len(json.loads(found.out)[0]["hits"]) == 2
