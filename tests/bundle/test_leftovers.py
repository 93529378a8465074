from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle import leftovers
from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.leftovers import (
    Resumption,
    clear_leftovers,
    entries,
    files_below,
    is_leftover,
    staged,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from itr_deploy.bundle.leftovers import staged
target = Path(sys.argv[1])
with staged(target, target.parent, directory=sys.argv[2] == "directory") as path:
    (path / "file" if path.is_dir() else path).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_staging(target: Path, kind: str) -> Path:
    """What a run leaves that is killed while it makes ``target``."""
    before = set(target.parent.iterdir())
    subprocess.run([sys.executable, "-c", KILLED, str(target), kind], check=False)
    (left,) = set(target.parent.iterdir()) - before
    return left


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_run_left_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    left = kill_while_staging(tmp_path / "bundle", kind)
    assert is_leftover(left.name)
    assert clear_leftovers(tmp_path / "bundle", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not clear_leftovers(tmp_path / "bundle", tmp_path)


@pytest.mark.parametrize("directory", [False, True])
def test_what_a_run_is_still_working_on_stays(directory: bool, tmp_path: Path) -> None:
    with staged(tmp_path / "bundle", tmp_path, directory=directory) as path:
        (path / "file" if directory else path).write_text("half")
        assert not clear_leftovers(tmp_path / "bundle", tmp_path)
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_others_left_stays(kind: str, tmp_path: Path) -> None:
    left = kill_while_staging(tmp_path / "bundle", kind)
    for other in ("bundle2", "undle", "b"):
        assert not clear_leftovers(tmp_path / other, tmp_path)
    assert left.exists()


def test_something_empty_may_be_a_run_that_begins(tmp_path: Path) -> None:
    fresh = tmp_path / ".bundle.itr-staging-abcd1234"
    fresh.mkdir()
    assert not clear_leftovers(tmp_path / "bundle", tmp_path)
    os.utime(fresh, (0, 0))
    assert clear_leftovers(tmp_path / "bundle", tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / ".bundle.itr-staging-abcd1234").symlink_to(tmp_path / "mine")
    clear_leftovers(tmp_path / "bundle", tmp_path)
    assert (tmp_path / "mine" / "file").exists()


def test_leftovers_and_a_file_systems_own_folder_are_no_content(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("")
    kill_while_staging(tmp_path / "a" / "file", "file")
    kill_while_staging(tmp_path / "bundle", "directory")
    assert entries(tmp_path) == {"a"}
    assert files_below(tmp_path) == {"a/file": tmp_path / "a" / "file"}


def test_a_file_that_is_written_clears_what_was_left_of_it(tmp_path: Path) -> None:
    kill_while_staging(tmp_path / "manifest.json", "file")
    write_file(tmp_path / "manifest.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_name_as_long_as_the_file_system_takes_is_staged(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_file(path, "x")
    assert path.read_text() == "x"


def test_a_run_waits_for_whoever_looks_at_what_it_has_just_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stage without a lock, and the next one would take it for abandoned."""
    make, looking = leftovers.tempfile.mkdtemp, []

    def looked_at(**where: Any) -> str:
        path = make(**where)
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        looking.append(threading.Timer(0.2, os.close, [handle]))
        looking[0].start()
        return path

    monkeypatch.setattr(leftovers.tempfile, "mkdtemp", looked_at)
    with staged(tmp_path / "bundle", tmp_path, directory=True) as path:
        (path / "file").write_text("half")
        assert not clear_leftovers(tmp_path / "bundle", tmp_path)
        assert (path / "file").exists()


def test_long_names_of_letters_of_several_bytes_are_staged_and_cleared(tmp_path: Path) -> None:
    name = "束" * 80
    kill_while_staging(tmp_path / name, "directory")
    assert clear_leftovers(tmp_path / name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def keeping(content: bytes, *, sound: bool = True) -> Resumption:
    return Resumption(content, lambda path: sound)


def stop(target: Path, resumption: Resumption, error: type[BaseException], *, kept: bool) -> Path:
    """Where a run staged a file that ends with an error."""

    def run() -> None:
        with staged(target, target.parent, directory=True, resumption=resumption) as path:
            found.append(path)
            (path / "file").write_text("half")
            if kept:
                resumption.keep(path)
            raise error

    found: list[Path] = []
    with pytest.raises(error):
        run()
    return found[0]


def test_what_an_interrupted_run_has_kept_is_gone_on_with_by_one_that_makes_the_same(
    tmp_path: Path,
) -> None:
    target, same = tmp_path / "gallery", keeping(b"same")
    left = stop(target, same, KeyboardInterrupt, kept=True)
    assert not clear_leftovers(target, tmp_path, same)
    with staged(target, tmp_path, directory=True, resumption=same) as path:
        assert path == left
        assert (path / "file").read_text() == "half"
        # It is in use: another run does not take it, nor removes it.
        assert not clear_leftovers(target, tmp_path)
        with staged(target, tmp_path, directory=True, resumption=same) as other:
            assert other != left
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [keeping(b"other"), keeping(b"same", sound=False)])
def test_what_cannot_be_gone_on_with_is_removed(other: Resumption, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    left = stop(target, keeping(b"same"), KeyboardInterrupt, kept=True)
    clear_leftovers(target, tmp_path, other)
    with staged(target, tmp_path, directory=True, resumption=other) as path:
        assert path != left
        assert not left.exists()


def test_an_error_and_an_interruption_before_anything_is_kept_leave_nothing(tmp_path: Path) -> None:
    target, resumption = tmp_path / "gallery", keeping(b"same")
    stop(target, resumption, ValueError, kept=True)
    stop(target, resumption, KeyboardInterrupt, kept=False)
    assert list(tmp_path.iterdir()) == []
