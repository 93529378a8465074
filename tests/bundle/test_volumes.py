"""Outputs that are mounted volumes, and read-only places."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files import tree
from tests.support.mounts import in_a_mount_namespace

MAKE = """"$PYTHON" -c '
import sys
from pathlib import Path
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import OutputError
output, content, force = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
ours = lambda path: (path / "mark").is_file()
try:
    with staged_directory(output, force=force, replaceable=ours, kind="box", last="mark") as root:
        (root / "mark").write_text(content)
        (root / "below").mkdir()
        (root / "below" / content).write_text(content)
        (root / content).write_text(content)
except OutputError as error:
    sys.exit(str(error))
' """


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume, and beside it the directory ``srv/out`` that it is mounted on by the tests."""
    (tmp_path / "srv" / "out").mkdir(parents=True)
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


MOUNT = 'cd "$1"; mount --bind volume srv/out; '


def test_an_empty_volume_is_filled(volume: Path) -> None:
    (volume / "lost+found").mkdir()
    done = in_a_mount_namespace(f"{MOUNT} {MAKE} srv/out new", volume.parent)
    assert done.returncode == 0, done.stderr
    assert tree(volume).keys() == {"mark", "new", "below/new"}
    assert {path.name for path in volume.iterdir()} == {"mark", "new", "below", "lost+found"}
    assert not any((volume.parent / "srv" / "out").iterdir())


def test_a_volume_that_holds_one_of_ours_is_replaced_whole_by_force(volume: Path) -> None:
    twice = f"{MOUNT} {MAKE} srv/out old; {MAKE} srv/out new force"
    done = in_a_mount_namespace(twice, volume.parent)
    assert done.returncode == 0, done.stderr
    assert tree(volume).keys() == {"mark", "new", "below/new"}
    assert (volume / "mark").read_text() == "new"


def test_a_volume_that_holds_one_of_ours_is_kept_without_force(volume: Path) -> None:
    twice = f"{MOUNT} {MAKE} srv/out old; {MAKE} srv/out new"
    done = in_a_mount_namespace(twice, volume.parent)
    assert done.returncode == 1
    assert "give force=True (--force) to replace this box" in done.stderr
    assert (volume / "mark").read_text() == "old"


def test_a_volume_below_a_read_only_root_is_filled(volume: Path) -> None:
    read_only = "mount --bind srv srv; mount -o remount,ro,bind srv; mount --bind volume srv/out;"
    done = in_a_mount_namespace(f'cd "$1"; {read_only} {MAKE} srv/out new', volume.parent)
    assert done.returncode == 0, done.stderr
    assert (volume / "mark").read_text() == "new"


def test_a_read_only_place_is_refused_before_the_work(volume: Path) -> None:
    read_only = "mount --bind srv srv; mount -o remount,ro,bind srv;"
    done = in_a_mount_namespace(f'cd "$1"; {read_only} {MAKE} srv/new new', volume.parent)
    assert done.returncode == 1
    assert "is read-only for this user; choose another place" in done.stderr


def test_a_volume_over_which_a_run_was_killed_is_filled_by_the_next(volume: Path) -> None:
    half = volume / ".out.itr-staging-abcd1234"
    half.mkdir()
    (half / "mark").write_text("old")
    (volume / "new").write_text("half")
    done = in_a_mount_namespace(f"{MOUNT} {MAKE} srv/out new force", volume.parent)
    assert done.returncode == 0, done.stderr
    assert tree(volume).keys() == {"mark", "new", "below/new"}
