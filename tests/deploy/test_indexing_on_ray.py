"""Ray's actors make the gallery that a single process makes, also if one of them is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery
from itr_deploy.errors import GalleryError, InputError, SetupError
from itr_deploy.runtime.encoding.sources import TOGETHER
from tests.support.command import itr_deploy as command
from tests.support.command import python
from tests.support.files import tree
from tests.support.items import images
from tests.support.parts import assert_equal, make, place_of

pytest.importorskip("ray")

GROUPS = 12
COUNT = GROUPS * TOGETHER - 5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "test_ims.npy", images(COUNT, 3))
    return folder


@pytest.fixture
def given(bundle: Path, data: Path, tmp_path: Path) -> dict[str, Any]:
    return {"bundle": str(bundle), "data": str(data), "output": str(tmp_path / "gallery")}


MAIN = "from itr_deploy.cli.main import main; main()"
RAY = {"ray": "local", "actors": 2, "threads": 1}
"""A cluster that the process is connected to is used whatever the address."""


def test_an_address_where_no_cluster_is_is_refused(given: dict[str, Any]) -> None:
    # In another process: one that is connected asks no address.
    words = ("index", given["bundle"], "--data", given["data"], "--output", given["output"])
    done = python(MAIN, *words, "--ray", "127.0.0.1:9")
    assert done.code == SetupError.exit_code
    assert "ray='127.0.0.1:9' (--ray): no cluster answers: " in done.err
    assert not place_of(given).root.exists()


def test_an_actor_that_is_killed_is_followed_by_one_that_goes_on(
    ray_cluster: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    (ray_cluster / "kill").touch()
    told: list[tuple[int, int]] = []
    done = itr_deploy.index(**given, **RAY, parts=2, progress=lambda *at: told.append(at))
    assert (ray_cluster / "killed").exists()
    assert (done.items, done.added) == (COUNT, COUNT)
    assert (told[0], told[-1]) == ((0, COUNT), (COUNT, COUNT))
    assert_equal(given, tmp_path / "whole")


def test_the_command_takes_ray_without_an_address_and_makes_no_part_again(
    ray_cluster: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    make(given, 3, 1)
    before = tree(place_of(given).part(1))
    words = ("index", given["bundle"], "--data", given["data"], "--output", given["output"])
    done = command(*words, "--actors", 1, "--threads", 1, "--ray")
    assert (done.code, done.out) == (0, f"gallery: {given['output']} ({COUNT} images)\n"), done.err
    assert_equal(given, tmp_path / "whole")
    data = {path.name for path in (Path(given["output"]) / "items.lance" / "data").iterdir()}
    assert {Path(name).name for name in before if "/data/" in name} <= data


@pytest.fixture
def spoilt(data: Path, given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A call over items of which the last cannot be encoded."""
    items = np.load(data / "test_ims.npy")
    items[-1, 0] = np.nan
    (tmp_path / "spoilt").mkdir()
    np.save(tmp_path / "spoilt" / "test_ims.npy", items)
    return {**given, "data": str(tmp_path / "spoilt")}


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            lambda given: {"storage": "int8"},
            GalleryError,
            "made with storage= .* float32, not int8",
        ),
        (lambda given: {"bundle": given["data"]}, itr_deploy.BundleError, "manifest"),
    ],
    ids=["other options", "no bundle"],
)
def test_what_an_actor_refuses_is_told_in_its_words(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    error: type[Exception],
    said: str,
    ray_cluster: Path,
    given: dict[str, Any],
) -> None:
    make({**given, "storage": "float32"}, 2, 0)
    with pytest.raises(error, match=said):
        itr_deploy.index(**{**given, **change(given)}, **RAY)


def test_an_item_that_cannot_be_encoded_ends_it_and_what_is_made_stays(
    ray_cluster: Path, spoilt: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"regions of image {COUNT - 1} hold NaN"):
        itr_deploy.index(**{**spoilt, **RAY, "actors": 1}, parts=2)
    assert not Path(spoilt["output"]).exists()
    place = place_of(spoilt)
    assert not place.part(1).exists()
    assert Gallery.open(place.part(0)).count() == GROUPS // 2 * TOGETHER
