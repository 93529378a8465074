"""One writer at a time: the second one waits, and then gets one clear line."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher
from itr_deploy.bundle.exchange import exchange
from itr_deploy.errors import GalleryBusyError, GalleryError, InputError, UsageError
from itr_deploy.runtime.gallery import lock
from itr_deploy.runtime.gallery.files import OWN
from itr_deploy.runtime.gallery.held import read_all
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import HOLDER, LOCK
from tests.support.files import tree
from tests.support.items import images, names

HOLD = """
import sys
from itr_deploy import Gallery
with Gallery.open(sys.argv[1]).writing():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(path: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the gallery's lock until its input ends."""
    command = [sys.executable, "-c", HOLD, path]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(names(4), images(4), {"year": [1, 2, 3, 4]})
    return made


def test_every_change_is_refused_while_another_process_writes(
    gallery: Gallery, matcher: Matcher
) -> None:
    second = Gallery.open(gallery.path, matcher, lock_timeout=0.1)
    with another_writer(gallery.path) as process:
        before = tree(Path(gallery.path))
        for change in (
            lambda: second.add(["new"], images(1)),
            lambda: second.update(names(1), metadata={"year": [9]}),
            lambda: second.delete(names(1)),
            second.build_coarse_index,
            second.compact,
            lambda: itr_deploy.compact(gallery.path, lock_timeout=0.0),
            lambda: itr_deploy.index_coarse(gallery.path, lock_timeout=0.0),
        ):
            with pytest.raises(GalleryBusyError) as caught:
                change()
            assert f"{gallery.path}: process {process.pid} is writing to it" in str(caught.value)
            assert "lock_timeout" in str(caught.value)
        # Readers take no notice.
        assert len(read_all(Gallery.open(gallery.path)).ids) == 4
        second.refresh()
        assert tree(Path(gallery.path)) == before
    second.add(["new"], images(1))


def test_a_lock_ends_with_the_process_that_was_killed(gallery: Gallery) -> None:
    with another_writer(gallery.path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (Path(gallery.path) / f"{TABLE}.lance" / OWN / HOLDER).is_file()
        gallery.add(["new"], images(1))
    assert not (Path(gallery.path) / f"{TABLE}.lance" / OWN / HOLDER).exists()


def test_a_writer_that_waits_long_enough_goes_on_from_what_the_other_left(
    gallery: Gallery, matcher: Matcher
) -> None:
    second = Gallery.open(gallery.path, matcher, lock_timeout=60)
    refused: list[Exception] = []

    def add() -> None:
        try:
            second.add(["same"], images(1))
        except GalleryError as error:
            refused.append(error)

    waiting = threading.Thread(target=add)

    def meanwhile(done: int) -> None:
        if not waiting.ident:
            waiting.start()

    gallery.add(["same"], images(1), progress=meanwhile)
    waiting.join()
    assert "'same' is there already" in str(refused[0])
    assert Gallery.open(gallery.path).ids().count("same") == 1


def test_a_writer_in_another_thread_is_refused_after_its_timeout(
    gallery: Gallery, matcher: Matcher
) -> None:
    second = Gallery.open(gallery.path, matcher, lock_timeout=0)
    with (
        gallery.writing(),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(GalleryBusyError, match="another thread of this process is writing"),
    ):
        pool.submit(second.delete, names(1)).result()


def test_a_thread_that_holds_the_lock_changes_the_gallery_and_holds_it_still(
    gallery: Gallery, matcher: Matcher
) -> None:
    second = Gallery.open(gallery.path, matcher, lock_timeout=0)
    with gallery.writing(), ThreadPoolExecutor(1) as pool:
        gallery.delete(names(1))
        second.delete(names(2)[1:])
        with pytest.raises(GalleryBusyError):
            pool.submit(second.delete, names(3)[2:]).result()
        assert (Path(gallery.path) / "items.lance" / OWN / HOLDER).exists()
    gallery.refresh()
    assert gallery.ids() == names(4)[2:]
    with another_writer(gallery.path), pytest.raises(GalleryBusyError):
        second.delete(names(3)[2:])


def test_what_another_gallerys_writer_has_told_stays(tmp_path: Path) -> None:
    root = tmp_path / "items.lance"
    root.mkdir()
    with lock.writer_lock(str(tmp_path), root, 0):
        (root / OWN / HOLDER).write_text("of another")
    assert (root / OWN / HOLDER).read_text() == "of another"


def test_a_child_that_was_forked_while_a_thread_wrote_is_not_locked_out_for_ever(
    gallery: Gallery,
) -> None:
    program = """
import os, sys
from pathlib import Path
from itr_deploy import Gallery
gallery = Gallery.open(sys.argv[1], lock_timeout=0)
from itr_deploy.runtime.gallery import lock
with lock.lock_of(str((Path(gallery.path) / "items.lance").resolve())).threads:
    child = os.fork()
    if child == 0:
        with lock.writer_lock(gallery.path, lock.table_root(lock.address_of(gallery.path)), 0):
            os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, gallery.path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n", done.stderr


def test_a_gallery_that_was_exchanged_during_the_wait_is_locked_itself(
    gallery: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    new = Gallery.create(tmp_path / "new", matcher)
    new.add(["x"], images(1))
    second = Gallery.open(gallery.path, matcher, lock_timeout=60)
    with another_writer(gallery.path) as process:
        waiting = threading.Thread(target=lambda: second.add(["late"], images(1)))
        waiting.start()
        # In one step, wherever the other thread has come to.
        assert exchange(tmp_path / "gallery", tmp_path / "new")
        assert process.stdin is not None
        process.stdin.close()
        waiting.join()
    assert sorted(Gallery.open(gallery.path).ids()) == ["late", "x"]
    assert sorted(Gallery.open(tmp_path / "new").ids()) == names(4)


def test_what_another_process_committed_survives_a_failure_whoever_heeded_no_lock(
    gallery: Gallery, matcher: Matcher
) -> None:
    """As an older release does, which knows no lock: what a version names is never removed."""
    bad = np.tile(images(4), (50, 1, 1))
    bad[-1, 0, 0] = np.nan
    lock = Path(gallery.path) / f"{TABLE}.lance" / OWN / LOCK
    written: list[int] = []

    def meanwhile(done: int) -> None:
        if not written:
            written.append(done)
            gallery.table.delete("id = 'item0000'")
            copy = gallery.table.to_arrow().slice(0, 1)
            column = copy.schema.get_field_index("id")
            gallery.table.add(copy.set_column(column, copy.schema.field("id"), [["other"]]))

    with pytest.raises(InputError, match="regions of image 199"):
        gallery.add(names(200, "a"), bad, progress=meanwhile)
    assert written
    assert lock.is_file()
    opened = Gallery.open(gallery.path, matcher)
    assert sorted(opened.ids()) == [*names(4)[1:], "other"]
    assert len(read_all(opened).ids) == 4


def test_a_gallery_is_not_replaced_while_another_process_writes(
    gallery: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", images(2))
    (data / "test_caps.txt").write_text("a dog\n" * 10)
    options = {"data": data, "output": gallery.path, "force": True}
    with another_writer(gallery.path), pytest.raises(GalleryBusyError, match="is writing to it"):
        itr_deploy.index(matcher.bundle.path, **options, lock_timeout=0.1)
    assert sorted(Gallery.open(gallery.path).ids()) == names(4)
    itr_deploy.index(matcher.bundle.path, **options)
    gallery.refresh()
    assert gallery.count() == 2
    assert [entry.name for entry in (tmp_path / "gallery").iterdir()] == [f"{TABLE}.lance"]
    gallery.add(["more"], images(1))


@pytest.mark.parametrize("seconds", [-1, "5", None, float("nan"), True])
def test_a_timeout_that_is_none_is_wrong_usage(seconds: Any, gallery: Gallery) -> None:
    with pytest.raises(UsageError, match=f"lock_timeout={seconds!r}"):
        Gallery.open(gallery.path, lock_timeout=seconds)


def test_where_nothing_can_be_written_the_lock_says_so(gallery: Gallery) -> None:
    lock = Path(gallery.path) / f"{TABLE}.lance" / OWN / LOCK
    lock.unlink()
    lock.mkdir()
    with pytest.raises(itr_deploy.OutputError, match=r"cannot write .*/gallery: .*as it was"):
        gallery.delete(names(1))


def test_a_gallery_is_not_replaced_by_the_thread_that_writes_to_it(gallery: Gallery) -> None:
    """The lock lies in the gallery: the next writer would not meet it."""
    with (
        gallery.writing(),
        pytest.raises(GalleryBusyError, match="in the middle of"),
        lock.replacing(Path(gallery.path), 0),
    ):
        raise AssertionError
    with lock.replacing(Path(gallery.path), 0):
        pass
