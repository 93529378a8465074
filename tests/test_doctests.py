"""The examples in docstrings, run next to a bundle and a gallery like a user's."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.region_cases import BUA_CAFFE

PACKAGE = Path(itr_deploy.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.fixture(scope="module")
def place(
    bundles: Bundles, detector_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """``bundle/``, ``gallery/`` of three images with a column ``price``, ``detector/``, a.png."""
    root = tmp_path_factory.mktemp("doctests")
    (root / "bundle").symlink_to(bundles.path(FULL))
    (root / "detector").symlink_to(detector_bundle)
    for name, picture in zip("ab", BUA_CAFFE.pictures, strict=False):
        (root / f"{name}.png").symlink_to(picture)
    matcher = Matcher.load(root / "bundle")
    regions = np.random.default_rng(0).standard_normal((3, 4, 32), dtype=np.float32)
    gallery = Gallery.create(root / "gallery", matcher)
    gallery.add(["a", "b", "c"], regions, metadata={"price": [3.5, 4.0, 9.0]})
    return root


def test_the_objects_a_user_holds_have_examples() -> None:
    shown = {"retriever", "matcher", "gallery", "hits", "detector"}
    assert shown <= {name.rpartition(".")[2] for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed
