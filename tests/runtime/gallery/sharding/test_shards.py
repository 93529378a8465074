"""``shards.json`` is read as it was written, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Shards
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.sharding.shards import (
    ShardRecord,
    ShardsRecord,
    is_shards,
    shard_of,
    write_shards,
)

RECORD = ShardsRecord(
    encoding_id="e" * 64,
    modality="image",
    count=2,
    shards=tuple(ShardRecord(path=f"shard-{n:04}", version=2, items=5) for n in range(2)),
)


def test_the_shard_of_an_id_never_changes() -> None:
    # Of this release and of every later one: galleries lie on disks.
    assert [shard_of(name, 1000) for name in ("a", "item0001", "ä", "日本")] == [343, 82, 529, 370]


def test_a_directory_and_its_file_are_the_same(tmp_path: Path) -> None:
    assert not is_shards(tmp_path)
    write_shards(tmp_path, RECORD)
    assert is_shards(tmp_path)
    assert is_shards(str(tmp_path / "shards.json"))
    one, other = Shards.open(tmp_path), Shards.open(str(tmp_path / "shards.json"))
    assert one.record == other.record == RECORD
    assert one.paths == other.paths == (tmp_path / "shard-0000", tmp_path / "shard-0001")
    assert len(one) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format that this release does not read"),
        ({"hash": "python"}, "damaged: hash"),
        ({"count": 3}, "2 shards are listed, 3 counted"),
        ({"count": 0}, "damaged: count"),
        ({"modality": "sound"}, "damaged: modality"),
        ({"more": 1}, "damaged: more"),
        ({"shards": [{"path": "../x", "version": 1, "items": 1}] * 2}, "not a directory beside"),
        ({"shards": [{"path": "/x", "version": 1, "items": 1}] * 2}, "not a directory beside it"),
        ({"shards": [{"path": "..", "version": 1, "items": 1}] * 2}, "not a directory beside it"),
        ({"shards": [{"path": "", "version": 1, "items": 1}] * 2}, "not a directory beside it"),
        ({"shards": [{"path": "x", "version": 1, "items": 1}] * 2}, "listed twice"),
    ],
)
def test_a_record_that_is_wrong_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    content = {**RECORD.model_dump(mode="json"), **change}
    (tmp_path / "shards.json").write_text(json.dumps(content))
    with pytest.raises(GalleryError, match=said):
        Shards.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"{}"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shards.json").write_bytes(content)
    with pytest.raises(GalleryError, match=r"shards\.json: "):
        Shards.open(tmp_path)


def test_a_record_that_is_absent_or_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="no such file; make one with itr-deploy shard"):
        Shards.open(tmp_path)
    with (tmp_path / "shards.json").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(GalleryError, match="larger than 4 MiB"):
        Shards.open(tmp_path)


def test_a_file_that_was_cut_off_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "shards.json").write_text("{")
    with pytest.raises(GalleryError, match=r"damaged: Invalid JSON: .*; make the shards again"):
        Shards.open(tmp_path)
