from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.bundle.files import (
    canonical_json,
    inside,
    output_errors,
    sha256_of,
    write_file,
    write_json,
)
from itr_deploy.errors import BundleError, OutputError
from tests.support.files import largest_file, tree

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=JSON)
def test_canonical_json_keeps_the_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(value=st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 7])
def test_a_checksum_is_of_the_whole_file(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_file(path, "first")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert tree(tmp_path).keys() == {"a/b/file.txt"}
    assert path.stat().st_mode & 0o777 == 0o644


def test_json_is_written_readable_and_in_unicode(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"name": "Ünïcode"})
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert "Ünïcode" in text
    assert json.loads(text) == {"name": "Ünïcode"}


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with largest_file(1000), pytest.raises(OutputError) as caught:
        write_file(path, b"x" * 10_000)
    assert str(path) in str(caught.value)
    assert "File too large" in str(caught.value)
    assert tree(tmp_path) == {"file.bin": hashlib.sha256(b"old").hexdigest()}


def test_a_file_where_a_folder_should_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*below: File exists"):
        write_file(tmp_path / "file" / "below", "x")


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", "x")
    assert tree(tmp_path) == {}


def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_file(Path("/proc/itr-deploy/file"), "x")
    assert "/proc/itr-deploy/file" in str(caught.value)
    assert caught.value.exit_code == 1


def test_errors_other_than_the_disks_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), output_errors(tmp_path):
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["file", "a/b/c.bin", "a/./b", "..a/b", "a..b"])
def test_a_name_inside_is_a_path_below_the_root(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("name", ["", ".", "/", "/a", "..", "a/..", "a/../b", "\\a", "C:a", "C:/a"])
def test_a_name_that_leaves_the_root_or_names_it_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        inside(tmp_path, name)
    assert repr(name) in str(caught.value)


def test_a_link_within_the_root_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path, "link").read_text() == "x"
