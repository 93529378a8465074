from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.errors import OutputError, ParityError
from tests.support.files import largest_file, tree


def ours(path: Path) -> bool:
    return (path / "mark").is_file()


def staged(output: Path, *, force: bool = False):
    return staged_directory(output, force=force, replaceable=ours, kind="bundle")


def build(root: Path, content: str) -> None:
    (root / "mark").write_text(content)
    (root / "below").mkdir()
    (root / "below" / "file").write_text(content)


def build_and_fail(root: Path, error: type[BaseException]) -> None:
    build(root, "new")
    raise error


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "place" / "output"


def only_output_is_there(output: Path) -> bool:
    return [path.name for path in output.parent.iterdir()] == [output.name]


def test_the_directory_appears_when_the_block_ends(output: Path) -> None:
    with staged(output) as root:
        build(root, "new")
        assert not output.exists()
        assert root.parent == output.parent
    assert (output / "below" / "file").read_text() == "new"
    assert only_output_is_there(output)
    assert output.stat().st_mode & 0o777 == 0o755


def test_a_failure_in_the_block_leaves_nothing(output: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(output) as root:
        build_and_fail(root, ZeroDivisionError)
    assert list(output.parent.iterdir()) == []


def test_a_place_where_no_directory_can_be_made_is_refused() -> None:
    nowhere = Path("/proc/output")
    with pytest.raises(OutputError, match=r"^cannot write /proc/output: "), staged(nowhere):
        raise AssertionError("nothing can be written there")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_failure_while_replacing_leaves_what_was_there(error: type, output: Path) -> None:
    with staged(output) as root:
        build(root, "old")
    before = tree(output)
    with pytest.raises(error), staged(output, force=True) as root:
        build_and_fail(root, error)
    assert tree(output) == before
    assert only_output_is_there(output)


def test_force_replaces_one_of_ours_whole(output: Path) -> None:
    with staged(output) as root:
        build(root, "old")
        (root / "extra").write_text("old")
    with staged(output, force=True) as root:
        build(root, "new")
        assert (output / "extra").exists(), "the old one stays until the new one is complete"
    assert tree(output).keys() == {"mark", "below/file"}
    assert (output / "mark").read_text() == "new"
    assert only_output_is_there(output)


def test_an_existing_one_is_kept_without_force(output: Path) -> None:
    with staged(output) as root:
        build(root, "old")
    with pytest.raises(OutputError) as caught, staged(output):
        pytest.fail("the block must not begin")
    assert str(output) in str(caught.value)
    assert "--force" in str(caught.value)


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_is_not_ours_is_never_replaced(force: bool, output: Path) -> None:
    output.mkdir(parents=True)
    (output / "diary.txt").write_text("dear")
    with pytest.raises(OutputError, match="is not a bundle"), staged(output, force=force):
        pytest.fail("the block must not begin")
    assert tree(output).keys() == {"diary.txt"}


def test_a_file_is_never_replaced(output: Path) -> None:
    output.parent.mkdir()
    output.write_text("a file")
    with pytest.raises(OutputError, match="is not a bundle"):
        check_output(output, force=True, replaceable=ours, kind="bundle")


def test_an_empty_directory_is_taken(output: Path) -> None:
    output.mkdir(parents=True)
    with staged(output) as root:
        build(root, "new")
    assert (output / "mark").read_text() == "new"
    assert only_output_is_there(output)


def test_a_full_disk_is_one_clear_error_and_leaves_the_old(output: Path) -> None:
    with staged(output) as root:
        build(root, "old")
    before = tree(output)
    with largest_file(50), pytest.raises(OutputError) as caught, staged(output, force=True) as root:
        (root / "mark").write_text("x" * 1000)
    assert str(output) in str(caught.value)
    assert tree(output) == before
    assert only_output_is_there(output)


def test_a_parent_that_cannot_be_made_is_named() -> None:
    output = Path("/proc/itr-deploy/output")
    with pytest.raises(OutputError, match="/proc/itr-deploy/output"), staged(output):
        pytest.fail("the block must not begin")


KILLED = """
import os, signal, sys
from pathlib import Path
from itr_deploy.bundle import staging
step, calls = int(sys.argv[2]), 0

def killing(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

if sys.argv[3] == "renames":
    staging.exchange = lambda one, other: False
else:
    staging.exchange = killing(staging.exchange)
Path.rename = killing(Path.rename)
ours = lambda path: (path / "mark").is_file()
output = Path(sys.argv[1])
with staging.staged_directory(output, force=True, replaceable=ours, kind="bundle") as root:
    (root / "mark").write_text("new")
"""


@pytest.mark.parametrize("way", ["exchange", "renames"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_kill_while_replacing_loses_nothing(step: int, way: str, output: Path) -> None:
    with staged(output) as root:
        build(root, "old")
    subprocess.run([sys.executable, "-c", KILLED, str(output), str(step), way], check=False)
    if way == "exchange":
        assert (output / "mark").exists(), "there is no moment without an output"
    with pytest.raises(ZeroDivisionError), staged(output, force=True) as root:
        build_and_fail(root, ZeroDivisionError)
    assert (output / "mark").read_text() in ("old", "new")
    assert only_output_is_there(output)


def test_a_place_below_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_output(tmp_path / "file" / "b" / "c", force=False, replaceable=ours, kind="bundle")


def test_a_relative_output_is_put_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with staged(Path("relative")) as root:
        build(root, "new")
        monkeypatch.chdir("/")
    assert ours(tmp_path / "relative")


@pytest.mark.parametrize("force", [False, True])
def test_what_appears_there_meanwhile_stays(force: bool, output: Path) -> None:
    def meanwhile(root: Path) -> None:
        build(root, "new")
        output.mkdir()
        (output / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="exists"), staged(output, force=force) as root:
        meanwhile(root)
    assert (output / "notes.txt").read_text() == "mine"
    assert only_output_is_there(output)


def test_a_finished_run_of_another_process_is_not_replaced(output: Path) -> None:
    def meanwhile(root: Path) -> None:
        build(root, "late")
        output.mkdir()
        build(output, "first")

    with pytest.raises(OutputError, match="give force=True"), staged(output) as root:
        meanwhile(root)
    assert (output / "mark").read_text() == "first"


def test_an_output_that_is_a_link_goes_on_leading_there(output: Path, tmp_path: Path) -> None:
    with staged(tmp_path / "real") as root:
        build(root, "old")
    output.parent.mkdir()
    output.symlink_to(tmp_path / "real")
    with staged(output, force=True) as root:
        build(root, "new")
    assert output.is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"place", "real"}


def test_no_error_names_the_directory_that_is_gone(output: Path) -> None:
    with pytest.raises(ParityError) as caught, staged(output) as root:
        raise ParityError(f"{root}: differs")
    assert str(caught.value) == f"{output}: differs"
