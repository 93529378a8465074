"""The verbs on a gallery in an object store, and on addresses that are none of this machine's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import itr_deploy as library
from itr_deploy import Gallery
from itr_deploy.cli.main import main  # noqa: F401  # imported once, before variables are set
from tests.support.command import itr_deploy
from tests.support.items import captions, images, names
from tests.support.servers import running_server, until
from tests.support.stores import StoreServer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of twelve images with five captions each."""
    root = tmp_path_factory.mktemp("data")
    np.save(root / "test_ims.npy", images(12))
    (root / "test_ids.txt").write_text("".join(f"{name}\n" for name in names(12)))
    (root / "test_caps.txt").write_text("".join(f"{text}\n" for text in captions(60)))
    return root


def found(bundle: Path, gallery: object) -> list[dict]:
    """What a text finds."""
    done = itr_deploy("search", bundle, captions(1)[0], "--gallery", gallery, "-k", 12, "--json")
    assert done.code == 0, done.err
    return done.json[0]["hits"]


def test_a_gallery_is_indexed_extended_and_replaced(
    bundle: Path, data: Path, s3: StoreServer, tmp_path: Path
) -> None:
    url = s3.place()
    index = ["index", bundle, "--data", data, "--output"]
    assert itr_deploy(*index, tmp_path / "gallery").code == 0
    made = itr_deploy(*index, url, "--json")
    assert (made.code, made.json["gallery"], made.json["items"]) == (0, url, 12)
    assert found(bundle, url) == found(bundle, tmp_path / "gallery")
    assert Gallery.open(url).version == 1
    again = itr_deploy(*index, url)
    assert again.code == 1
    assert f"{url} exists; give force=True (--force)" in again.error
    assert "is there already" in itr_deploy(*index, url, "--append").error
    assert itr_deploy(*index, url, "--append", "--modality", "text").code == 1
    before = {name for name in s3.names(url) if "/data/" in name}
    other = itr_deploy(*index, url, "--force", "--json")
    assert (other.code, other.json["items"]) == (0, 12)
    after = {name for name in s3.names(url) if "/data/" in name}
    assert after
    assert not after & before
    assert found(bundle, url) == found(bundle, tmp_path / "gallery")
    shown = itr_deploy("inspect", url, "--verify", "--json").json
    assert (shown["kind"], shown["items"], shown["versions"]) == ("gallery", 12, 1)
    assert itr_deploy("index-coarse", url).code == 0


def test_captions_are_indexed_and_a_later_split_is_added(
    bundle: Path, data: Path, s3: StoreServer, tmp_path: Path
) -> None:
    url = s3.place()
    library.index(bundle, data=data, output=url, modality="text")
    assert Gallery.open(url).count() == 60
    more = shutil.copytree(data, tmp_path / "more")
    (more / "test_ids.txt").write_text("".join(f"{name}\n" for name in names(12, "later")))
    images_at = s3.place()
    library.index(bundle, data=data, output=images_at)
    made = library.index(bundle, data=more, output=images_at, append=True)
    assert (made.added, made.items) == (12, 24)


def test_a_run_that_fails_leaves_no_gallery(bundle: Path, data: Path, s3: StoreServer) -> None:
    url = s3.place()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.index(bundle, data=data, output=url, progress=stop)
    assert all("_itr_deploy" in name for name in s3.names(url))
    assert library.index(bundle, data=data, output=url).items == 12


def test_it_is_served_and_looked_at_for_changes(
    bundle: Path, data: Path, s3: StoreServer, tmp_path: Path
) -> None:
    url = s3.place()
    library.index(bundle, data=data, output=url)
    with running_server(bundle, url, tmp_path / "log", "--refresh", 0.1) as running:  # type: ignore[arg-type]
        ask = {"query": captions(1)[0], "k": 12}
        with running.client() as client:
            assert len(client.post("/v1/search", json=ask).json()["hits"]) == 12
            Gallery.open(url).delete(["item0000"])
            until(lambda: len(client.post("/v1/search", json=ask).json()["hits"]) == 11)


IN_A_STORE: dict[str, tuple[Callable[[str], list[object]], str]] = {
    "parts": (
        lambda url: ["index", "b", "--data", "d", "--output", url, "--parts", 2, "--part", 0],
        "--parts",
    ),
    "commit": (lambda url: ["index", "b", "--output", url, "--commit"], "--commit"),
    "compact": (lambda url: ["compact", url], "copy it to a local directory"),
    "up": (lambda url: ["up", "b", "d", "--gallery", url], "index into the store"),
    "index-bank": (
        lambda url: ["index-bank", "b", "--gallery", url, "--bank", "k"],
        "re-rank without them",
    ),
    "bench": (lambda url: ["bench", "b", "--gallery", url], "copy it to a directory"),
    "triton": (
        lambda url: ["triton", "b", "--gallery", url, "--output", "o"],
        "not a local path",
    ),
    "a bundle": (lambda url: ["search", url, "x", "--gallery", "g"], "not a local path"),
    "data": (lambda url: ["index", "b", "--data", url, "--output", "o"], "not a local path"),
}


@pytest.mark.parametrize(("command", "said"), IN_A_STORE.values(), ids=IN_A_STORE.keys())
@pytest.mark.parametrize("url", ["s3://bucket/gallery", "gs://bucket/gallery"])
def test_what_is_not_done_in_a_store_is_refused_before_any_work(
    command: Callable[[str], list[object]], said: str, url: str
) -> None:
    """There is no such bundle either, nor such a store."""
    done = itr_deploy(*command(url))
    assert done.code == 2
    assert said in done.error


@pytest.mark.parametrize(
    "url", ["ftp://h/g", "https://u:pw@h/g?sig=word", "hf://a/b", "abfs://a/b"]
)
def test_stores_of_another_kind_are_refused(url: str) -> None:
    for words in (["search", "b", "x", "--gallery"], ["serve", "b", "--gallery"], ["inspect"]):
        done = itr_deploy(*words, url)
        assert done.code == 2
        assert "galleries in s3://, gs://, az://" in done.error
        assert "pw" not in done.error
        assert "word" not in done.error


def test_a_tilde_and_a_file_url_are_paths(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert itr_deploy("index", bundle, "--data", data, "--output=~/my gallery").code == 0
    assert (tmp_path / "my gallery" / "items.lance").is_dir()
    for address in ("~/my gallery", f"file://{tmp_path}/my%20gallery"):
        assert len(found(bundle, address)) == 12
        assert Gallery.open(address).count() == 12
        assert library.Retriever.load(bundle, address).gallery.count() == 12
        assert library.compact(address).items == 12
        assert itr_deploy("inspect", address, "--json").json["items"] == 12
    assert {path.name for path in tmp_path.iterdir()} == {"my gallery"}
