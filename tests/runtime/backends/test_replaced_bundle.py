"""A bundle that is replaced, moved or removed while it is open."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle import bound
from itr_deploy.errors import BundleError
from tests.support.golden import FULL

TEXTS, IMAGES = ["a dog", "two cats on a mat"], FULL.regions[:3]


def replace(bundle: Path) -> None:
    """As ``export --force`` does; the new one has other weights and another vocabulary."""
    new = Path(shutil.copytree(bundle, bundle.parent / "new"))
    weights = np.fromfile(new / "graphs" / "weights.bin", "<f4") * 1.1
    weights.tofile(new / "graphs" / "weights.bin")
    (new / "vocab.json").write_text("{}")
    bundle.rename(bundle.parent / "old")
    new.rename(bundle)
    shutil.rmtree(bundle.parent / "old")


@pytest.fixture(params=["small files", "large files"])
def copy(
    request: pytest.FixtureRequest, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A bundle of its own for a test; its files count as large ones as well."""
    if request.param == "large files":
        monkeypatch.setattr(bound, "KEPT", 0)
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.mark.parametrize("used", [False, True], ids=["not used yet", "used"])
@pytest.mark.parametrize("change", [replace, shutil.rmtree])
def test_an_open_matcher_scores_with_what_it_opened(
    change: Callable[[Path], None], used: bool, copy: Path, bundle: Path
) -> None:
    expected = Matcher.load(bundle, threads=1).score(texts=TEXTS, images=IMAGES)
    matcher = Matcher.load(copy, threads=1)
    if used:
        matcher.encode_texts(TEXTS)
    change(copy)
    np.testing.assert_array_equal(matcher.score(texts=TEXTS, images=IMAGES), expected)


def test_a_matcher_of_a_relative_path_outlives_a_change_of_directory(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy.parent)
    matcher = Matcher.load("bundle", threads=1)
    monkeypatch.chdir("/")
    assert matcher.score(texts=TEXTS, images=IMAGES).shape == (3, 2)


def test_weights_that_were_written_over_are_never_used(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bound, "KEPT", 0)
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    matcher = Matcher.load(copy, threads=1)
    with (copy / "graphs" / "weights.bin").open("r+b") as file:
        file.write(b"\0" * 400)
    with pytest.raises(BundleError, match=r"weights.bin does not match .* load the bundle again"):
        matcher.encode_texts(TEXTS)


@pytest.mark.parametrize("change", ["overwritten", "cut"])
def test_weights_that_are_written_over_while_sessions_read_them_are_seen(
    change: str, copy: Path, bundle: Path
) -> None:
    """As ``cp`` does, which cuts the file first; small ones were read into memory."""
    matcher = Matcher.load(copy, threads=1)
    expected = matcher.score(texts=TEXTS, images=IMAGES)
    weights = copy / "graphs" / "weights.bin"
    if change == "cut":
        weights.write_bytes(b"")
    else:
        (np.fromfile(weights, "<f4") * 0.9).astype("<f4").tofile(weights)
    if bound.KEPT:
        np.testing.assert_array_equal(matcher.score(texts=TEXTS, images=IMAGES), expected)
    else:
        with pytest.raises(BundleError, match=r"weights.bin does not match .* load the bundle"):
            matcher.score(texts=TEXTS, images=IMAGES)


def test_weights_that_the_manifest_does_not_list_are_refused(bundle: Path, tmp_path: Path) -> None:
    from itr_deploy.bundle.store import list_files, read_bundle, write_manifest

    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    manifest = read_bundle(copy).manifest
    graph = copy / "graphs" / "text_encoder.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"weights.bin", b"another.bin"))
    files = list_files(copy)
    shutil.copy(copy / "graphs" / "weights.bin", copy / "graphs" / "another.bin")
    write_manifest(copy, manifest.model_copy(update={"files": files}))
    with pytest.raises(BundleError, match=r"reads 'graphs/another.bin', which the manifest does"):
        Matcher.load(copy)
