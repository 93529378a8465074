"""A gallery in an object store is what a local one is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryError, GalleryUnreadableError, InputError, UsageError
from itr_deploy.runtime.gallery.location import location_of
from itr_deploy.runtime.gallery.stores import client, options
from itr_deploy.runtime.gallery.stores import store as stores
from itr_deploy.runtime.gallery.stores.creating import create_at_once
from itr_deploy.runtime.gallery.stores.store import Store
from tests.support.items import images, names
from tests.support.retrieval import CONDITIONS, COUNT, assert_same, columns, search
from tests.support.stores import BUCKET, KEY, SECRET, StoreServer


@pytest.fixture(scope="module")
def pair(
    matcher: Matcher, s3: StoreServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Gallery, Gallery]:
    """The same changes here and there; not to be changed."""
    local = tmp_path_factory.mktemp("local") / "gallery"
    return changed(Gallery.create(local, matcher)), changed(Gallery.create(s3.place(), matcher))


def changed(gallery: Gallery) -> Gallery:
    ids, items, user = names(COUNT), images(COUNT), columns()
    gallery.add(ids[:100], items[:100], {name: values[:100] for name, values in user.items()})
    gallery.add(ids[100:], items[100:], {name: values[100:] for name, values in user.items()})
    gallery.delete(ids[20:30])
    gallery.upsert(ids[25:35], images(10, seed=5), {"split": ["dev"] * 10, "year": [1] * 10})
    gallery.update(["item0003"], metadata={"year": [1990]})
    return gallery


FORMS = {
    "in memory": {"resident": True},
    "vectors in memory": {"resident": False, "memory_budget": 1_000_000},
    "all in the store": {"resident": False, "memory_budget": 10_000},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("where", CONDITIONS)
def test_hits_are_those_of_a_local_gallery(
    form: dict, where: str | None, pair: tuple[Gallery, Gallery], matcher: Matcher
) -> None:
    here, there = (Retriever(matcher, gallery, **form) for gallery in pair)
    assert_same(search(there, where=where), search(here, where=where))


def test_what_it_holds_is_what_a_local_gallery_holds(pair: tuple[Gallery, Gallery]) -> None:
    here, there = pair
    assert there.ids() == here.ids()
    assert there.count("year = 1990") == 1
    assert (there.version, there.description) == (here.version, here.description)
    assert there.verify().files > 2


def test_searches_in_memory_ask_the_store_for_nothing(
    pair: tuple[Gallery, Gallery], matcher: Matcher, s3: StoreServer
) -> None:
    retriever = Retriever(matcher, pair[1], resident=True)
    search(retriever)
    before = s3.requests()
    search(retriever)
    assert s3.requests() == before


def test_a_refresh_reads_what_is_new(matcher: Matcher, s3: StoreServer, caplog) -> None:
    url = s3.place()
    Gallery.create(url, matcher).add(names(40), images(40))
    retriever = Retriever.load(matcher.bundle.path, url, resident=True)
    search(retriever)
    Gallery.open(url, matcher).add(["new"], images(1, seed=9))
    Gallery.open(url, matcher).delete(["item0000"])
    with caplog.at_level("INFO", "itr_deploy"):
        retriever.refresh()
        found = search(retriever, k=100)
    assert "1 read, 1 gone" in caplog.text
    assert {"new"} | set(names(40)) - {"item0000"} == set(found[0].ids)


def test_who_searches_a_version_that_was_removed_is_told_to_refresh(
    matcher: Matcher, s3: StoreServer
) -> None:
    """As `index --force` removes it."""
    url = s3.place()
    Gallery.create(url, matcher).add(names(20), images(20))
    retriever = Retriever.load(matcher.bundle.path, url, resident=False, memory_budget=1_000)
    search(retriever)
    store = location_of(url)
    assert isinstance(store, Store)
    with store.locked(1.0):
        create_at_once(
            *(store, matcher, "image", None, names(4), images(4), None, lambda done: None),
            replace=True,
        )
        store.remove_all_but(3)
    with pytest.raises(GalleryUnreadableError, match=re.escape("call refresh()")) as caught:
        search(retriever)
    told(caught.value)
    retriever.refresh()
    assert sorted(search(retriever, k=10)[0].ids) == names(4)


def test_versions_are_found_on_every_page(
    matcher: Matcher, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where names are in no order, as in directory buckets."""
    gallery = Gallery.create(s3.place(), matcher)
    gallery.add(names(3), images(3))
    for name in names(3)[:2]:
        gallery.delete([name])
    monkeypatch.setattr(client, "PAGE", 2)
    monkeypatch.setattr(stores, "PAGE", 2)
    location = gallery.opened.location
    assert location.latest_version() == gallery.version == 4
    whole = client.Client._listing
    monkeypatch.setattr(
        client.Client,
        "_listing",
        lambda own, prefix: iter([page[::-1] for page in whole(own, prefix)][::-1]),
    )
    assert location.latest_version() == 4


def test_the_coarse_index_is_built_and_asked(matcher: Matcher, s3: StoreServer) -> None:
    gallery = Gallery.create(s3.place(), matcher)
    gallery.add(names(60), images(60))
    gallery.build_coarse_index()
    assert gallery.coarse_indexed == 60
    retriever = Retriever(matcher, gallery, resident=False, memory_budget=10_000)
    assert all(len(hits) == 10 for hits in search(retriever))


def test_a_failed_change_leaves_nothing(matcher: Matcher, s3: StoreServer) -> None:
    url = s3.place()
    gallery = Gallery.create(url, matcher)
    gallery.add(names(3), images(3))
    before = s3.names(url)
    broken = images(600)
    broken[590] = np.nan
    with pytest.raises(InputError):
        gallery.add(names(600, "more"), broken)
    assert s3.names(url) == before
    assert (gallery.count(), Gallery.open(url).count()) == (3, 3)


def test_a_copy_of_a_local_gallery_is_a_gallery(
    matcher: Matcher, s3: StoreServer, tmp_path: Path
) -> None:
    import obstore

    local, url = tmp_path / "gallery", s3.place()
    Gallery.create(local, matcher).add(names(5), images(5))
    store = s3.objects(url)
    for file in filter(Path.is_file, local.rglob("*")):
        obstore.put(store, file.relative_to(local).as_posix(), file)
    gallery = Gallery.open(url, matcher)
    gallery.add(["new"], images(1))
    assert gallery.ids() == [*names(5), "new"]
    gallery.verify()


@pytest.mark.parametrize(
    ("damage", "said"),
    [(lambda name: None, "is missing"), (lambda name: b"x" * 10, "has 10 bytes, ")],
)
def test_objects_that_are_not_as_they_were_written_are_told(
    damage: Callable, said: str, matcher: Matcher, s3: StoreServer
) -> None:
    import obstore

    url = s3.place()
    gallery = Gallery.create(url, matcher)
    gallery.add(names(3), images(3))
    store, name = s3.objects(url), next(n for n in s3.names(url) if n.endswith(".lance"))
    content = damage(name)
    obstore.delete(store, name) if content is None else obstore.put(store, name, content)
    with pytest.raises(GalleryUnreadableError, match=said):
        gallery.verify()


def test_options_take_the_place_of_variables(
    matcher: Matcher, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3.place()
    given = {"aws_endpoint": s3.url, "aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    for name in ("AWS_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    Gallery.create(url, matcher, storage_options=given).add(names(2), images(2))
    gallery = Gallery.open(url, storage_options=given)
    assert gallery.count() == 2
    assert SECRET not in repr(gallery) + repr(gallery.opened.location)
    for path in (url, "/local/gallery"):
        with pytest.raises(UsageError, match="storage_options=") as caught:
            Gallery.open(path, storage_options={**given, "aws_acces_key": SECRET})
        assert SECRET not in str(caught.value)


def test_a_profile_is_read_where_boto3_is_there(
    s3: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matcher: Matcher
) -> None:
    pytest.importorskip("boto3")
    file = tmp_path / "credentials"
    file.write_text(f"[tests]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "tests")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    url = s3.place()
    Gallery.create(url, matcher).add(names(2), images(2))
    assert Gallery.open(url).count() == 2
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    with pytest.raises(Exception, match="pip install boto3"):
        Gallery.open(url)


@pytest.fixture
def with_users(s3: StoreServer) -> Iterator[None]:
    """Only who has an account is answered; nobody has one."""
    s3.ask("POST", "/moto-api/reset-auth", b"0")
    yield
    s3.ask("POST", "/moto-api/reset-auth", b"1000000000")


@pytest.mark.usefixtures("with_users")
def test_a_wrong_key_is_one_line(s3: StoreServer) -> None:
    with pytest.raises(GalleryError, match="access is denied") as caught:
        Gallery.open(s3.place())
    told(caught.value)


REFUSED = {
    "no bucket": ("s3://no-such-bucket/x", {}, "there is no bucket 'no-such-bucket'"),
    "no gallery": (f"s3://{BUCKET}/nothing/here", {}, "no such gallery"),
    "no network": (f"s3://{BUCKET}/x", {"AWS_ENDPOINT": "http://127.0.0.1:9"}, "be reached"),
    "no credentials": (
        f"s3://{BUCKET}/x",
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "no credentials",
    ),
    "no machine that gives any": (
        f"s3://{BUCKET}/x",
        {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_EC2_METADATA_DISABLED": "",
            "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
        },
        "no credentials",
    ),
}


@pytest.mark.parametrize(("url", "variables", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_store_refuses_is_one_line(
    url: str, variables: dict, said: str, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(GalleryError, match=re.escape(said)) as caught:
        Gallery.open(url)
    told(caught.value)


def told(error: GalleryError) -> None:
    """One line with nothing secret in it."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 300
    assert KEY not in text
    assert SECRET not in text


def test_without_the_clients_package_it_says_how_to_install_it(
    s3: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "find_spec", lambda name: None)
    with pytest.raises(Exception, match=re.escape("pip install 'itr-deploy[stores]'")):
        Gallery.open(s3.place())


def test_a_gallery_in_a_store_is_not_compacted(pair: tuple[Gallery, Gallery]) -> None:
    with pytest.raises(GalleryError, match="copy it to a local directory"):
        pair[1].compact()


def test_a_local_gallery_needs_nothing_of_this(tmp_path: Path, matcher: Matcher) -> None:
    Gallery.create(tmp_path / "gallery", matcher)
    script = """
import sys
from itr_deploy import Gallery
Gallery.open(sys.argv[1]).count()
own = "obstore", "boto3", "itr_deploy.runtime.gallery.stores"
print([name for name in sys.modules if name.startswith(own)])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "gallery")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
