"""A folder is indexed and served; called again, only what has changed is looked at."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever, index
from itr_deploy import up as up_of
from itr_deploy.deploy.up import Indexed, kind_of
from itr_deploy.errors import GalleryError, InputError
from tests.support.command import itr_deploy
from tests.support.duals import GRID, PICTURES, export_words
from tests.support.exports import Bundles
from tests.support.items import images
from tests.support.servers import PROGRAM, Running, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pixels(bundles: Bundles) -> Path:
    return bundles.of(*export_words(GRID))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for path in PICTURES[:3]:
        shutil.copy(path, root / path.name)
    (root / "more" / "broken.jpg").write_text("not a picture")
    return root


@contextmanager
def up(log: Path, *words: object) -> Iterator[Running]:
    """``itr-deploy up``, ready; ended by Ctrl-C."""
    command = [sys.executable, "-c", PROGRAM, "up", *map(str, words), "--port", "0"]
    with log.open("wb") as file:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    running = Running(process, "", log)

    def address() -> str | None:
        lines = [line for line in running.said.splitlines() if line.startswith("ready: ")]
        assert lines or process.poll() is None, running.said
        return lines[0].removeprefix("ready: ").rstrip("/") if lines else None

    try:
        running.url = until(address, 90)
        yield running
        assert running.end() == 0, running.said
        assert "Traceback" not in running.said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)


def found(server: Running, text: str) -> list[str]:
    hits = httpx2.post(f"{server.url}/v1/search", json={"query": text}, timeout=60).json()["hits"]
    return sorted(hit["id"] for hit in hits)


def test_what_is_new_or_changed_is_indexed_and_what_is_gone_is_removed(
    pixels: Path, photos: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "photos.gallery"
    with up(tmp_path / "log.txt", pixels, photos) as server:
        assert found(server, "a dog") == sorted(path.name for path in PICTURES[:3])
        assert f"gallery: {gallery} (3 images, 3 indexed)" in server.said
        assert "left out: more/broken.jpg" in server.said
        picture = httpx2.get(f"{server.url}/v1/items/{PICTURES[0].name}/picture")
        assert picture.headers["Content-Type"] == "image/jpeg"
        assert "<!doctype html>" in httpx2.get(server.url).text.lower()
    before = Gallery.open(gallery).version
    with up(tmp_path / "log.txt", pixels, photos) as server:
        assert "(3 images, 0 indexed)" in server.said
        assert "left out: more/broken.jpg" in server.said
    assert Gallery.open(gallery).version == before
    shutil.copy(PICTURES[3], photos / "more" / "broken.jpg")
    shutil.copy(PICTURES[4], photos / PICTURES[1].name)
    (photos / PICTURES[0].name).unlink()
    with up(tmp_path / "log.txt", pixels, photos) as server:
        assert "(3 images, 2 indexed, 1 removed)" in server.said
        assert found(server, "a dog") == sorted(
            ["more/broken.jpg", PICTURES[1].name, PICTURES[2].name]
        )
    retriever = Retriever.load(pixels, gallery)
    for name in ("more/broken.jpg", PICTURES[1].name, PICTURES[2].name):
        hit = retriever.search(image=photos / name, k=1)[0]
        assert (hit.id, round(hit.score, 4)) == (name, 1.0)


def test_a_run_that_is_killed_is_gone_on_with(pixels: Path, photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "photos.gallery"
    with up(tmp_path / "log.txt", pixels, photos):
        pass
    shutil.copy(PICTURES[3], photos / "new.png")
    opened = Gallery.open(gallery)
    opened.delete([PICTURES[0].name])
    with up(tmp_path / "log.txt", pixels, photos) as server:
        assert "(4 images, 2 indexed)" in server.said
        server.signal(signal.SIGTERM)
        until(lambda: "draining" in server.said)
    assert sorted(Gallery.open(gallery).ids()) == sorted(
        [*(path.name for path in PICTURES[:3]), "new.png"]
    )


def test_features_are_indexed_anew_when_they_change(bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", images(4))
    (data / "test_ids.txt").write_text("a\nb\nc\nd\n")
    with up(tmp_path / "log.txt", bundle, data, "--gallery", tmp_path / "own") as server:
        assert found(server, "a dog") == ["a", "b", "c", "d"]
    with up(tmp_path / "log.txt", bundle, data, "--gallery", tmp_path / "own") as server:
        assert "(4 images, 0 indexed)" in server.said
    np.save(data / "test_ims.npy", images(5))
    (data / "test_ids.txt").write_text("a\nb\nc\nd\ne\n")
    with up(tmp_path / "log.txt", bundle, data, "--gallery", tmp_path / "own") as server:
        assert "(5 images, 5 indexed)" in server.said
        assert found(server, "a dog") == ["a", "b", "c", "d", "e"]


def test_what_the_user_says_of_a_picture_outlives_its_change(
    pixels: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "more" / "broken.jpg").unlink()
    gallery, about = tmp_path / "own", tmp_path / "about.csv"
    about.write_text("id,price\n" + "".join(f"{path.name},1.5\n" for path in PICTURES[:3]))
    index(pixels, pictures=photos, output=gallery, metadata=about)
    matcher = Matcher.load(pixels)
    opened = Gallery.open(gallery, matcher)
    opened.add(["elsewhere"], [PICTURES[0]], {"price": [2.5]})
    made = mirrored(matcher, photos, gallery)
    assert (made.added, made.removed) == (0, 0)
    shutil.copy(PICTURES[4], photos / PICTURES[1].name)
    (photos / PICTURES[2].name).write_text("no picture any more")
    shutil.copy(PICTURES[3], photos / "new.png")
    made = mirrored(matcher, photos, gallery)
    assert (made.items, made.added, made.removed) == (4, 2, 0)
    assert list(made.broken) == [PICTURES[2].name]
    retriever = Retriever.load(pixels, gallery)
    hits = retriever.search(image=PICTURES[4], k=4)
    assert (hits[0].id, round(hits[0].score, 4)) == (PICTURES[1].name, 1.0)
    prices = {hit.id: hit.metadata["price"] for hit in hits}
    assert prices == {
        PICTURES[0].name: 1.5,
        PICTURES[1].name: 1.5,
        "elsewhere": 2.5,
        "new.png": None,
    }
    # Nothing is left to do; then all that have changed are no pictures any more.
    assert mirrored(matcher, photos, gallery).added == 0
    for name in (PICTURES[0].name, PICTURES[1].name):
        (photos / name).write_text("nor this")
    made = mirrored(matcher, photos, gallery)
    assert (made.added, sorted(Gallery.open(gallery).ids())) == (0, ["elsewhere", "new.png"])


def mirrored(matcher: Matcher, folder: Path, gallery: Path) -> Indexed:
    """A gallery made like a folder, as before it is served."""
    found: list[Indexed] = []

    class Enough(Exception):  # noqa: N818
        pass

    def indexed(result: Indexed) -> None:
        found.append(result)
        raise Enough

    with pytest.raises(Enough):
        up_of(matcher.bundle.path, folder, gallery=gallery, port=0, indexed=indexed)
    return found[0]


def test_a_gallery_of_texts_is_left_as_it_is(pixels: Path, photos: Path, tmp_path: Path) -> None:
    matcher, gallery = Matcher.load(pixels), tmp_path / "texts"
    Gallery.create(gallery, matcher, "text").add([PICTURES[0].name], ["a dog"])
    version = Gallery.open(gallery).version
    with pytest.raises(GalleryError, match="holds texts, and this makes galleries of images"):
        up_of(pixels, photos, gallery=gallery, port=0)
    assert Gallery.open(gallery).version == version
    assert [path.name for path in (gallery / "items.lance" / "_itr_deploy").glob("*.json")] == [
        "checksums.json"
    ]


def test_features_do_not_replace_a_gallery_that_index_made(bundle: Path, tmp_path: Path) -> None:
    data, gallery = tmp_path / "data", tmp_path / "own"
    data.mkdir()
    np.save(data / "test_ims.npy", images(2))
    (data / "test_ids.txt").write_text("a\nb\n")
    index(bundle, data=data, output=gallery)
    matcher = Matcher.load(bundle)
    Gallery.open(gallery, matcher).add(["mine"], images(1))
    assert mirrored(matcher, data, gallery).items == 3
    np.save(data / "test_ims.npy", images(3))
    (data / "test_ids.txt").write_text("a\nb\nc\n")
    for _ in range(2):
        with pytest.raises(GalleryError, match="index made this gallery, which may hold more"):
            up_of(bundle, data, gallery=gallery, port=0)
    assert sorted(Gallery.open(gallery).ids()) == ["a", "b", "mine"]


def test_a_gallery_of_something_else_is_left_as_it_is(
    bundle: Path, matcher: Matcher, tmp_path: Path
) -> None:
    def refused(*words: object) -> str:
        done = itr_deploy("up", *words, "--port", 0)
        assert done.code == 1, done.err
        return done.error

    source, gallery = tmp_path / "source", tmp_path / "source.gallery"
    source.mkdir()
    np.save(source / "a.npy", images(1)[0])
    with up(tmp_path / "log.txt", bundle, source):
        pass
    np.save(source / "test_ims.npy", images(4))
    told = refused(bundle, source)
    assert f"{gallery}: made from the features of {source}, which holds data now; move" in told
    assert list(Gallery.open(gallery).ids()) == ["a"]
    texts = Gallery.create(tmp_path / "texts", matcher, "text")
    texts.add(["a", "b"], ["a dog", "a cat"])
    told = refused(bundle, source, "--gallery", tmp_path / "texts")
    assert "texts: holds texts, and this makes galleries of images; give another gallery" in told
    assert not list(tmp_path.glob("texts/**/pictures.json"))
    Gallery.create(tmp_path / "made", matcher).add(["a", "b"], images(2))
    told = refused(bundle, source, "--gallery", tmp_path / "made")
    assert f"made: holds other items than {source}; give another gallery" in told
    (tmp_path / "file").touch()
    told = refused(bundle, source, "--gallery", tmp_path / "file")
    assert "is not a gallery, or holds other files; choose another place (--gallery)" in told


def test_what_cannot_be_is_refused_before_any_work(
    bundle: Path, pixels: Path, photos: Path, tmp_path: Path
) -> None:
    def refused(code: int, *words: object) -> str:
        done = itr_deploy("up", *words)
        assert done.code == code, done.err
        return done.error

    told = refused(2, bundle, photos)
    assert "give the region detector that it was trained with" in told
    assert f"or a directory of features in place of {photos}" in told
    assert "no such directory" in refused(1, pixels, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "no picture in it" in refused(1, pixels, tmp_path / "empty")
    assert "is no address" in refused(2, pixels, photos, "--host", "nowhere.invalid")
    assert not (tmp_path / "photos.gallery").exists()
    with up(tmp_path / "log.txt", pixels, photos) as server:
        told = refused(4, pixels, photos, "--port", server.place[1])
        assert "address already in use; give another port" in told
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    told = refused(1, pixels, other, "--gallery", tmp_path / "photos.gallery", "--port", 0)
    assert f"made from {photos}, not from {other}; give another gallery (--gallery)" in told
    told = refused(1, bundle, photos, "--detector", pixels, "--port", 0)
    assert "detector" in told


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["a.jpg", "notes.txt"], "pictures"),
        (["dev_ims.npy", "a.jpg"], "data"),
        (["test_feat.npy"], "data"),
        (["a.npz", "b.npz"], "features"),
        (["train.tsv"], "features"),
        (["a.npy", "notes.txt", "more"], "features"),
    ],
)
def test_what_a_folder_holds_is_seen(files: Sequence[str], kind: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == kind
    if kind == "features":
        (tmp_path / "a.JPG").touch()
        with pytest.raises(InputError, match=r"and pictures, such as a\.JPG; move one kind"):
            kind_of(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        kind_of(tmp_path / "absent")
