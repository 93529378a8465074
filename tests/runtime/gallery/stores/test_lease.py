"""One writer at a time to a gallery in an object store, over all processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryBusyError, GalleryError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery.stores import lease
from itr_deploy.runtime.gallery.stores.client import Client, TakenError
from itr_deploy.runtime.gallery.stores.options import options_of
from tests.support.items import images, names
from tests.support.stores import StoreServer


@pytest.fixture
def gallery(matcher: Matcher, s3: StoreServer) -> Gallery:
    made = Gallery.create(s3.place(), matcher)
    made.add(names(3), images(3))
    return made


def client_of(gallery: Gallery) -> Client:
    url = StoreUrl(gallery.path)
    return Client(url, options_of(url, {}))


def test_who_waits_is_told_who_writes(gallery: Gallery, matcher: Matcher) -> None:
    other = Gallery.open(gallery.path, matcher, lock_timeout=0.2)
    with lease.leased(client_of(gallery), 1.0), pytest.raises(GalleryBusyError) as caught:
        other.delete(["item0000"])
    assert "process " in str(caught.value)
    assert other.count() == 3
    other.delete(["item0000"])


def test_threads_wait_for_one_another(gallery: Gallery, matcher: Matcher) -> None:
    other = Gallery.open(gallery.path, matcher, lock_timeout=0.1)
    found: list[BaseException] = []

    def write() -> None:
        try:
            other.delete(["item0000"])
        except GalleryBusyError as error:
            found.append(error)

    with gallery.writing():
        gallery.delete(["item0001"])
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "another thread of this process" in str(found[0])


def test_the_lock_of_a_killed_process_is_taken(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the store's clock, which counts in seconds."""
    client = client_of(gallery)
    lease._taken(client, "killed")
    monkeypatch.setattr(lease, "LASTS", 2.0)
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    gallery.delete(["item0000"])
    assert gallery.count() == 2


def test_a_lock_that_is_renewed_is_not_taken(
    gallery: Gallery, matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS", 2.0)
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    other = Gallery.open(gallery.path, matcher, lock_timeout=3.5)
    with lease.leased(client_of(gallery), 1.0), pytest.raises(GalleryBusyError):
        other.delete(["item0000"])


def test_of_two_who_take_it_one_gets_it(gallery: Gallery) -> None:
    client = client_of(gallery)
    there = client.read(lease.LEASE)
    assert there is not None
    client.write(lease.LEASE, lease._content("one", 0), there.state)
    with pytest.raises(TakenError):
        client.write(lease.LEASE, lease._content("two", 0), there.state)
    with pytest.raises(TakenError):
        client.write(lease.LEASE, lease._content("three", 0), None)


def test_who_lost_the_lock_commits_nothing(
    gallery: Gallery, matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.1)
    client, version = client_of(gallery), gallery.version

    def steal(done: int) -> None:
        there = client.read(lease.LEASE)
        assert there is not None
        if b"thief" not in there.bytes:
            client.write(lease.LEASE, lease._content("thief", 0), there.state)
            time.sleep(0.5)

    with pytest.raises(GalleryBusyError, match="could not be renewed in time"):
        gallery.add(names(600, "more"), images(600), progress=steal)
    there = client.read(lease.LEASE)
    assert there is not None
    # Which is the thief's still.
    assert b"thief" in there.bytes
    assert Gallery.open(gallery.path).version == version


SCRIPT = """
import sys
from itr_deploy import Gallery, Matcher
from tests.support.items import images, names
bundle, url, own = sys.argv[1:]
gallery = Gallery.open(url, Matcher.load(bundle), lock_timeout=60)
sys.stdin.readline()
for number in range(4):
    gallery.add([f"{own}{number}"], images(1))
try:
    gallery.add(["same"], images(1))
except Exception as error:
    print(type(error).__name__)
"""


def test_processes_add_one_after_the_other(gallery: Gallery, matcher: Matcher) -> None:
    command = [sys.executable, "-c", SCRIPT, str(matcher.bundle.path), gallery.path]
    writers = [
        subprocess.Popen([*command, own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for own in "ab"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = sorted(writer.communicate(timeout=120)[0].strip() for writer in writers)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert said == ["", GalleryError.__name__]
    expected = [*names(3), *(f"{own}{n}" for own in "ab" for n in range(4)), "same"]
    gallery.refresh()
    assert sorted(gallery.ids()) == sorted(expected)
