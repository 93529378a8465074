"""A folder of pictures becomes a gallery of a model that takes regions, through a detector."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import itr_deploy as library
from itr_deploy import Detector, Gallery, InputError, Matcher, UsageError
from itr_deploy.deploy.expected_time import lasting
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.region_cases import BUA_CAFFE
from tests.support.tiny_detector import tiny_detector_of


@pytest.fixture(scope="module")
def fitting(bundles: Bundles) -> Path:
    """A detector whose features are as wide as the golden matcher's."""
    return tiny_detector_of(bundles, feature_dim=32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for number, path in enumerate(BUA_CAFFE.pictures):
        shutil.copy(path, root / ("more" if number == 1 else ".") / path.name)
    return root


IDS = ["0.png", "2.png", "more/1.png"]


def test_a_folder_becomes_a_gallery_with_boxes(
    bundle: Path, fitting: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "gallery"
    done = itr_deploy(
        *("index", bundle, "--pictures", photos, "--detector", fitting, "--output", output),
        "--json",
    )
    assert done.code == 0, done.err
    assert {name: done.json[name] for name in ("added", "items")} == {"added": 3, "items": 3}
    assert "- regions of 3 pictures: " in done.err
    assert " s each, " in done.err
    gallery = Gallery.open(output, Matcher.load(bundle))
    assert sorted(gallery.ids()) == IDS
    (found,) = Detector.load(fitting).detect([photos / "more/1.png"])
    (placed,) = gallery.boxes(["more/1.png"])
    np.testing.assert_allclose(placed.boxes, found.boxes, atol=1e-3)
    assert placed.picture_size.tolist() == list(found.picture_size)
    hits = library.search(bundle, "a dog", gallery=output, k=3)[0]
    assert sorted(hits.ids) == IDS


def test_a_picture_is_searched_with_from_the_command_line(
    bundle: Path, fitting: Path, photos: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    matcher = Matcher.load(bundle)
    Gallery.create(texts, matcher, "text").add(["x", "y"], ["a dog", "two cats"])
    words = ("search", bundle, "--gallery", texts, "--image", photos / "0.png", "--json")
    found = itr_deploy(*words, "--detector", fitting)
    assert found.code == 0, found.err
    assert len(found.json[0]["hits"]) == 2
    refused = itr_deploy("search", bundle, "a dog", "--gallery", texts, "--detector", fitting)
    assert refused.code == 2
    assert "is for a picture" in refused.err


def test_broken_pictures_are_named_left_out_and_an_error_in_the_end(
    bundle: Path, fitting: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "a cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(40))
    (photos / "empty.png").touch()
    Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(photos / "low.png")
    output = tmp_path / "gallery"
    words = ("index", bundle, "--pictures", photos, "--detector", fitting, "--output", output)
    done = itr_deploy(*words)
    assert done.code == 1
    assert "left out: a cut.jpg: " in done.err
    assert "left out: empty.png: is empty (0 bytes)" in done.err
    assert "left out: low.png: the detector proposes nothing in its 40 x 15 pixels" in done.err
    assert "error: 3 of 6 pictures cannot be used" in done.err
    assert sorted(Gallery.open(output).ids()) == IDS
    again = itr_deploy(*words, "--force", "--skip-broken", "--json", "--proposals", 40)
    assert again.code == 0, again.err
    assert again.json["broken"].keys() == {"a cut.jpg", "empty.png", "low.png"}


def test_a_picture_of_few_regions_is_kept_where_the_gallery_holds_any_number(
    bundle: Path, fitting: Path, photos: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (18, 40, 3), np.uint8)
    later = tmp_path / "later"
    later.mkdir()
    for folder in (photos, later):
        Image.fromarray(pixels).save(folder / f"few in {folder.name}.png")
    output, matcher = tmp_path / "gallery", Matcher.load(bundle)
    made = library.index(bundle, pictures=photos, detector=fitting, output=output)
    assert (made.added, made.broken) == (4, {})
    assert (
        library.index(bundle, pictures=later, detector=fitting, output=output, append=True).items
        == 5
    )
    hits = library.search(bundle, "a dog", gallery=output, k=5)[0]
    assert len(hits) == 5
    # Galleries of features have one number, mostly.
    fixed = Gallery.create(tmp_path / "fixed", matcher)
    fixed.add(["a"], np.ones((1, 36, 32), np.float32))
    with pytest.raises(InputError, match="none of 1 pictures can be used, such as few in later"):
        library.index(
            bundle, pictures=later, detector=fitting, output=tmp_path / "fixed", append=True
        )
    library.index(bundle, pictures=photos, detector=fitting, output=tmp_path / "fixed", append=True)
    assert sorted(Gallery.open(tmp_path / "fixed").ids()) == ["0.png", "2.png", "a", "more/1.png"]


def test_wrong_use_is_told_before_any_work(
    bundle: Path, detector_bundle: Path, fitting: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "gallery"
    with pytest.raises(UsageError, match=r"give the region detector .* detector= \(--detector\)"):
        library.index(bundle, pictures=photos, output=output)
    with pytest.raises(UsageError, match=r"is for pictures; give pictures= \(--pictures\)"):
        library.index(bundle, data=photos, detector=fitting, output=output)
    with pytest.raises(UsageError, match=r"are a detector's; give detector= \(--detector\)"):
        library.index(bundle, pictures=photos, proposals=5, output=output)
    with pytest.raises(InputError, match="its regions have 8 features each"):
        library.index(bundle, pictures=photos, detector=detector_bundle, output=output)
    with pytest.raises(InputError, match="the bundle of a matcher, imram"):
        library.index(bundle, pictures=photos, detector=bundle, output=output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (26_000, "7 h 13 min"),
        (200_000, "2 days 7 h"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_a_killed_run_is_gone_on_with(
    bundle: Path,
    bundles: Bundles,
    fitting: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("itr_deploy.runtime.gallery.parts.SECONDS", 0.0)
    output = tmp_path / "gallery"
    words = {"pictures": photos, "detector": fitting, "output": output}

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.index(bundle, **words, progress=interrupt)
    assert not output.exists()
    (left,) = (path for path in tmp_path.iterdir() if path.name.startswith(".gallery"))
    kept = shutil.copytree(left, tmp_path / "kept")
    # What another precision has found is another's.
    rounded = tiny_detector_of(bundles, feature_dim=32, precision="float16")
    told: list[str] = []
    library.index(bundle, **{**words, "detector": rounded}, tell=told.append)
    assert told[0].startswith("regions of 3 pictures: ")
    assert "stored" not in told[0]
    shutil.rmtree(output)
    kept.rename(left)
    told.clear()
    done = library.index(bundle, **words, tell=told.append)
    assert (done.added, done.items) == (3, 3)
    assert told[0].startswith("regions of 3 pictures: 1 are stored; ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "photos"]
    gallery = Gallery.open(output, Matcher.load(bundle))
    assert sorted(gallery.ids()) == IDS
