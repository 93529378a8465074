"""A folder of pictures becomes a gallery, and what cannot be decoded is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import itr_deploy as library
from itr_deploy import Gallery, Matcher
from itr_deploy.errors import InputError, UsageError
from tests.support.command import itr_deploy
from tests.support.duals import GRID, PICTURES, export_words
from tests.support.exports import Bundles

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pixels(bundles: Bundles) -> Path:
    return bundles.of(*export_words(GRID))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for number, path in enumerate(PICTURES):
        shutil.copy(path, root / ("more" if number % 2 else ".") / path.name)
    (root / "notes.txt").write_text("not a picture")
    return root


IDS = ["0.png", "2.png", "4.png", "more/1.png", "more/3.png"]


def test_ids_are_relative_paths_and_vectors_those_of_the_pictures(
    pixels: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "gallery"
    done = itr_deploy("index", pixels, "--pictures", photos, "--output", output, "--json")
    assert done.code == 0, done.err
    assert {name: done.json[name] for name in ("added", "items")} == {"added": 5, "items": 5}
    assert "broken" not in done.json
    matcher = Matcher.load(pixels)
    gallery = Gallery.open(output, matcher)
    assert sorted(gallery.ids()) == IDS
    found = itr_deploy("search", pixels, "--gallery", output, "--image", photos / "2.png", "--json")
    assert found.code == 0, found.err
    best = found.json[0]["hits"][0]
    assert (best["id"], round(best["score"], 4)) == ("2.png", 1.0)
    text = itr_deploy("search", pixels, GRID.captions[1], "--gallery", output, "--json")
    scores = GRID.expected["scores"].numpy()[:, 1]
    names = {path.name: score for path, score in zip(PICTURES, scores, strict=True)}
    hits = {Path(hit["id"]).name: hit["score"] for hit in text.json[0]["hits"]}
    assert hits == pytest.approx(names, abs=1e-4)


def test_broken_pictures_are_named_left_out_and_an_error_in_the_end(
    pixels: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(40))
    (photos / "more" / "empty.png").touch()
    output = tmp_path / "gallery"
    done = itr_deploy("index", pixels, "--pictures", photos, "--output", output)
    assert done.code == 1
    assert "left out: cut.jpg: " in done.err
    assert "left out: more/empty.png: is empty (0 bytes)" in done.err
    assert "error: 2 of 7 pictures cannot be decoded" in done.err
    assert Gallery.open(output).count() == 5
    again = itr_deploy(
        *("index", pixels, "--pictures", photos, "--output", output, "--force", "--json"),
        "--skip-broken",
    )
    assert again.code == 0, again.err
    assert again.json["broken"].keys() == {"cut.jpg", "more/empty.png"}
    assert again.json["added"] == 5


def test_metadata_and_appending_are_as_for_splits(
    pixels: Path, photos: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,price\n" + "".join(f"{name},{n}\n" for n, name in enumerate(IDS)))
    output = tmp_path / "gallery"
    library.index(pixels, pictures=photos, output=output, metadata=table)
    later = tmp_path / "later"
    later.mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(later / "black.png")
    (later / "broken.png").write_bytes(b"x")
    table.write_text("id,price\nblack.png,7\nbroken.png,8\n")
    done = library.index(pixels, pictures=later, output=output, metadata=table, append=True)
    assert (done.added, done.items, [*done.broken]) == (1, 6, ["broken.png"])
    gallery = Gallery.open(output)
    assert gallery.count("price = 7") == 1
    assert gallery.count("price = 8") == 0


def test_a_folder_of_broken_pictures_alone_leaves_nothing(pixels: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"none of 1 pictures can be decoded, such as a\.png: "):
        library.index(pixels, pictures=photos, output=tmp_path / "gallery")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_wrong_use_is_told(pixels: Path, bundle: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "gallery"
    with pytest.raises(UsageError, match="one of them"):
        library.index(pixels, output=output)
    with pytest.raises(UsageError, match="one of them"):
        library.index(pixels, data=photos, pictures=photos, output=output)
    with pytest.raises(UsageError, match="takes features of regions, not pictures"):
        library.index(bundle, pictures=photos, output=output)
    with pytest.raises(UsageError, match="are images"):
        library.index(pixels, pictures=photos, output=output, modality="text")
    with pytest.raises(UsageError, match=r"leave split='dev' \(--split\) out"):
        library.index(pixels, pictures=photos, output=output, split="dev")
    done = itr_deploy("index", bundle, "--data", photos, "--output", output, "--skip-broken")
    assert done.code == 2
    assert json.dumps("--pictures")[1:-1] in done.err
    assert not output.exists()
