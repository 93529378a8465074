"""`shard`: the shards hold what the gallery holds, each item where its id says."""

from __future__ import annotations

import json
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher, Shards
from itr_deploy.errors import GalleryError, OutputError, UsageError
from itr_deploy.runtime.encoding.regions import Regions
from tests.support.command import itr_deploy as command
from tests.support.files import tree
from tests.support.items import captions, images, names
from tests.support.retrieval import columns

COUNT = 300


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with boxes, some without, in three commits and with deleted items."""
    path = tmp_path_factory.mktemp("whole") / "gallery"
    made = Gallery.create(path, matcher)
    features = images(COUNT)
    boxes = np.random.default_rng(0).uniform(0, 9, (*features.shape[:2], 4)).astype(np.float32)
    placed = Regions(features, boxes, np.full((COUNT, 2), 9, np.float32))
    made.add(names(COUNT), placed, columns(COUNT))
    made.add(["ä", "日本", "a/b c"], images(3), columns(3))
    made.delete(names(20))
    return path


@pytest.fixture(scope="module")
def shards(gallery: Path) -> Shards:
    itr_deploy.shard(gallery, count=4, output=gallery.parent / "shards")
    return Shards.open(gallery.parent / "shards")


def test_an_item_is_in_the_shard_of_its_id_and_in_no_other(gallery: Path, shards: Shards) -> None:
    whole = Gallery.open(gallery)
    found = [Gallery.open(path) for path in shards.paths]
    assert sorted(name for one in found for name in one.ids()) == sorted(whole.ids())
    for number, one in enumerate(found):
        for name in one.ids():
            digest = blake2b(name.encode(), digest_size=8).digest()
            assert int.from_bytes(digest, "big") % 4 == number
            assert shards.path_of(name) == shards.paths[number]
        # In the gallery's order, with all that is stored.
        rows = whole.table.to_arrow()
        own = rows.filter(pc.is_in(rows["id"], one.table.to_arrow()["id"].combine_chunks()))
        assert one.table.to_arrow().equals(own)
        assert one.description == whole.description
        assert one.boxes([one.ids()[0]]) == [None] or one.boxes([one.ids()[0]])[0] is not None
        one.verify()
    assert len({one.identity.gallery for one in (*found, whole)}) == 5


def test_the_record_says_what_was_made(gallery: Path, shards: Shards) -> None:
    told = json.loads((shards.root / "shards.json").read_text())
    counts = [Gallery.open(path).count() for path in shards.paths]
    assert [one["items"] for one in told["shards"]] == counts
    assert [one["path"] for one in told["shards"]] == [f"shard-{n:04}" for n in range(4)]
    assert [one["version"] for one in told["shards"]] == [2] * 4
    about = Gallery.open(gallery).description
    assert (told["format"], told["count"], told["hash"]) == (1, 4, "blake2b-64")
    assert (told["encoding_id"], told["modality"]) == (about.encoding_id, "image")
    assert {path.name for path in shards.root.iterdir()} == {
        "shards.json",
        *(path.name for path in shards.paths),
    }


def test_ids_are_split_as_the_shards_hold_them(shards: Shards) -> None:
    ids = [*names(30), "new", "日本"]
    split = shards.split(ids)
    assert sorted(place for places in split.values() for place in places) == [*range(len(ids))]
    for path, places in split.items():
        assert all(shards.path_of(ids[place]) == path for place in places)
    with pytest.raises(GalleryError, match="given twice"):
        shards.split(["a", "a"])


def test_texts_and_a_coarse_index(matcher: Matcher, tmp_path: Path) -> None:
    made = Gallery.create(tmp_path / "texts", matcher, "text")
    made.add(names(COUNT), captions(COUNT))
    told: list[tuple[int, int]] = []
    done = itr_deploy.shard(
        tmp_path / "texts",
        count=2,
        output=tmp_path / "shards",
        coarse_index=True,
        progress=lambda *at: told.append(at),
    )
    assert (told[0], told[-1]) == ((0, COUNT), (COUNT, COUNT))
    assert done.coarse_indexed == sum(done.items) == COUNT
    for path in Shards.open(tmp_path / "shards").paths:
        assert Gallery.open(path).coarse_indexed == Gallery.open(path).count()
        Gallery.open(path).verify()


def test_the_command(gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "shards"
    done = command("shard", gallery, "--count", 3, "--output", output)
    assert done.code == 0, done.err
    assert done.out.startswith(f"shards: {output}/shards.json (283 images in 3 shards of ")
    again = command("shard", gallery, "--count", 3, "--output", output, "--json")
    assert again.code == 1
    assert "exists" in again.err
    one = command("shard", gallery, "--count", 1, "--output", tmp_path / "one")
    assert one.out.endswith("shards.json (283 images in 1 shard)\n")
    told = command("shard", gallery, "--count", 3, "--output", tmp_path / "other", "--json")
    assert sum(json.loads(told.out)["items"]) == 283


def test_shards_are_inspected_together_and_refused_where_one_gallery_is_needed(
    shards: Shards,
) -> None:
    told = itr_deploy.inspect(shards.root, verify=True)
    assert (told["kind"], told["count"], told["items"]) == ("shards", 4, 283)
    assert sum(one["items"] for one in told["shards"]) == 283
    assert told["verified"]["files"] >= 8
    shown = command("inspect", shards.root / "shards.json")
    assert shown.code == 0, shown.err
    assert "shard-0003" in shown.out
    for path in (shards.root, shards.root / "shards.json"):
        with pytest.raises(GalleryError, match="a gallery in shards, which search and serve take"):
            itr_deploy.compact(path)


def test_a_shard_that_is_not_its_own_is_told_by_inspect(shards: Shards, tmp_path: Path) -> None:
    copied = tmp_path / "shards"
    shutil.copytree(shards.root, copied)
    shutil.rmtree(copied / "shard-0002")
    shutil.copytree(copied / "shard-0001", copied / "shard-0002")
    with pytest.raises(GalleryError, match=r"shard-0002: item '.*' belongs to another shard"):
        itr_deploy.inspect(copied, verify=True)
    record = json.loads((copied / "shards.json").read_text())
    (copied / "shards.json").write_text(json.dumps({**record, "encoding_id": 64 * "0"}))
    with pytest.raises(GalleryError, match=r"shard-0000: made with another bundle"):
        itr_deploy.inspect(copied)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"count": 0}, UsageError, "count=0 must be a whole number from 1 to 4096"),
        ({"count": 1000}, UsageError, r"count=1000 \(--count\): .* has 283 items"),
        ({"count": 280}, GalleryError, r"shard \d+ of 280 would be empty"),
        ({"gallery": "absent"}, GalleryError, "no such gallery"),
    ],
)
def test_what_cannot_be_split_is_refused(
    gallery: Path, tmp_path: Path, how: dict[str, Any], error: type[Exception], said: str
) -> None:
    given = {"gallery": gallery, "count": 2, "output": tmp_path / "out", **how}
    with pytest.raises(error, match=said):
        itr_deploy.shard(**given)
    assert not (tmp_path / "out").exists()
    assert [*tmp_path.iterdir()] == []


def test_an_output_inside_the_gallery_is_refused_and_that_stays(
    gallery: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(gallery, tmp_path / "gallery"))
    before = tree(copied)
    for output in (copied / "shards", copied / "shards" / ".." / "items.lance" / "s"):
        with pytest.raises(OutputError, match="is inside the gallery that is split"):
            itr_deploy.shard(copied, count=2, output=output)
    assert tree(copied) == before


def test_a_shard_that_is_gone_is_told(shards: Shards, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(shards.root, tmp_path / "shards"))
    shutil.rmtree(copied / "shard-0002")
    with pytest.raises(GalleryError, match="shard-0002: no such shard; copy it here"):
        itr_deploy.inspect(copied)


def test_shards_in_an_object_store_are_refused_as_such() -> None:
    for url in ("s3://bucket/shards.json", "s3://bucket/place/shards.json"):
        with pytest.raises(UsageError, match=r"is not a local path: .* mount or copy"):
            itr_deploy.inspect(url)


def test_an_output_that_is_there_is_refused_and_left_alone(gallery: Path, shards: Shards) -> None:
    before = tree(shards.root)
    # There is no force= (--force) to name.
    with pytest.raises(OutputError, match=r"exists; choose another output \(--output\)$"):
        itr_deploy.shard(gallery, count=2, output=shards.root)
    assert tree(shards.root) == before


def test_a_damaged_gallery_is_not_split(gallery: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(gallery, tmp_path / "copy"))
    data = max((copy / "items.lance" / "data").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(GalleryError, match="not as it was written"):
        itr_deploy.shard(copy, count=2, output=tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}


def test_no_gallery_is_made_where_one_in_shards_is(matcher: Matcher, shards: Shards) -> None:
    before = tree(shards.root)
    with pytest.raises(GalleryError, match="a gallery in shards is there"):
        Gallery.create(shards.root, matcher)
    assert tree(shards.root) == before
