from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from itr_deploy.bundle import bound
from itr_deploy.bundle.bound import BoundFile, read_regular
from itr_deploy.bundle.manifest import FileInfo
from itr_deploy.errors import BundleError


def info_of(path: Path) -> FileInfo:
    content = path.read_bytes()
    return FileInfo(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture(params=["in memory", "open"])
def file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BoundFile:
    """``a file``, checked and kept either way."""
    if request.param == "open":
        monkeypatch.setattr(bound, "KEPT", 0)
    path = tmp_path / "a file"
    path.write_bytes(b"the old content")
    return BoundFile(path, tmp_path, info_of(path), "a file")


def test_a_file_that_nothing_touched_is_in_place(file: BoundFile) -> None:
    assert file.in_place()
    assert not file.linked
    assert bytes(file.content()) == b"the old content"


def test_what_replaces_a_file_is_not_it(file: BoundFile, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"the new content")
    (tmp_path / "new").rename(file.path)
    assert not file.in_place()
    assert bytes(file.content()) == b"the old content"


def test_a_file_that_was_removed_keeps_its_content(file: BoundFile) -> None:
    file.path.unlink()
    assert not file.in_place()
    assert bytes(file.content()) == b"the old content"


def test_a_file_that_was_written_to_is_seen_even_with_its_old_times(file: BoundFile) -> None:
    before = file.path.stat()
    with file.path.open("r+b") as opened:
        opened.write(b"THE")
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not file.in_place()


def test_a_large_file_that_was_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bound, "KEPT", 0)
    path = tmp_path / "weights.bin"
    path.write_bytes(b"the old content")
    file = BoundFile(path, tmp_path, info_of(path), "weights.bin")
    with path.open("r+b") as opened:
        opened.write(b"THE")
    with pytest.raises(BundleError, match=r"weights.bin does not match .* load the bundle again"):
        file.content()


def test_a_large_file_that_was_cut_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading what is mapped past its end would end the process."""
    monkeypatch.setattr(bound, "KEPT", 0)
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(100_000))
    file = BoundFile(path, tmp_path, info_of(path), "weights.bin")
    os.truncate(path, 10)
    with pytest.raises(BundleError, match="load the bundle again"):
        file.content()


def test_a_bundle_below_a_link_is_not_made_of_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "current").symlink_to("real")
    root = tmp_path / "current"
    assert not BoundFile(root / "file", root, info_of(root / "file"), "file").linked


def test_a_new_link_to_a_file_leaves_its_content(file: BoundFile, tmp_path: Path) -> None:
    os.link(file.path, tmp_path / "another name")
    assert bytes(file.content()) == b"the old content"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(b"another content"), "does not match its checksum"),
        (lambda path: path.write_bytes(b""), "does not match its checksum"),
        (Path.unlink, "is missing"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    ],
)
def test_what_the_manifest_does_not_describe_is_refused(change, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old content")
    info = info_of(path)
    change(path)
    with pytest.raises(BundleError, match=f"the file {said}"):
        BoundFile(path, tmp_path, info, "the file")


def test_an_empty_file_is_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    assert (
        BoundFile(tmp_path / "empty", tmp_path, info_of(tmp_path / "empty"), "empty").content()
        == b""
    )


def test_a_path_through_a_link_is_linked(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    path = tmp_path / "link" / "file"
    assert BoundFile(path, tmp_path, info_of(path), "file").linked


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path / "manifest.json")
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("change", ["written", "cut", "removed", "replaced"])
def test_a_file_in_use_says_whether_it_was_written_over(change: str, file: BoundFile) -> None:
    """What is kept in memory, removed or replaced is still the same to whoever has it open."""
    if change == "written":
        file.path.write_bytes(b"THE old content")
    elif change == "cut":
        os.truncate(file.path, 3)
    else:
        file.path.unlink()
        if change == "replaced":
            file.path.write_bytes(b"the new content")
    if change in ("removed", "replaced") or file.is_kept:
        file.check_unwritten()
    else:
        with pytest.raises(BundleError, match=r"a file does not match .* load the bundle again"):
            file.check_unwritten()
