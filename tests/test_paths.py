from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.errors import UsageError
from itr_deploy.paths import StoreUrl, gallery_place, local_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_is_the_home_directory(kind: type, home: Path) -> None:
    assert local_path(kind("~/gallery")) == home / "gallery"
    assert local_path(kind("~")) == home
    assert local_path(kind("a/~/b")) == Path("a/~/b")
    # Absolute, so that it stays what it is where it is asked for again.
    assert local_path("./~/b") == local_path(local_path("./~/b")) == Path.cwd() / "~/b"


@pytest.mark.parametrize("kind", [str, Path])
def test_one_slash_is_a_url_too(kind: type) -> None:
    """As a `Path` of it has, which is asked for again."""
    assert local_path(kind("file:/srv/gallery")) == Path("/srv/gallery")
    with pytest.raises(UsageError, match="is not a local path"):
        local_path(kind("s3:/bucket/gallery"))
    assert local_path(kind("C:/Users")) == Path("C:/Users")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_url_is_its_path(kind: type) -> None:
    assert local_path(kind("file:///srv/my%20gallery")) == Path("/srv/my gallery")
    assert local_path("file://localhost/srv") == Path("/srv")


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("url", ["s3://bucket/gallery", "gs://b/g", "https://host/x", "hf://a/b"])
def test_a_url_of_another_kind_is_refused(url: str, kind: type) -> None:
    with pytest.raises(UsageError, match="is not a local path"):
        local_path(kind(url))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "a path is empty"),
        ("a\0b", "NUL"),
        ("~nobody-of-this-name/x", "./~nobody-of-this-name/x"),
        ("x" * 300, "too long"),
        ("a/" * 5000, "too long"),
        ("\ud800", "not a name that files can have"),
        ("file://other/host", "names no file of this machine"),
        ("file://", "names no file of this machine"),
    ],
)
def test_what_no_file_can_be_called_is_one_short_line(path: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        local_path(path)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["with space", "100%", "per%20cent", "hash#tag", "s3:bucket", "C:drive", "a::b", "日本語", "*"],
)
def test_odd_names_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    assert local_path(tmp_path / name) == tmp_path / name
    assert local_path(f"./{name}/x") == Path(name) / "x"


@given(text=st.text())
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with suppress(UsageError):
        local_path(text).exists()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_gallery_may_be_in_a_store(kind: type) -> None:
    found = gallery_place(kind("s3://bucket/a/gallery/"))
    assert found == "s3://bucket/a/gallery"
    assert isinstance(found, StoreUrl)
    assert gallery_place(found) == found
    assert gallery_place("GS://Bucket//a") == "gs://Bucket/a"
    assert gallery_place(kind("~/gallery")) == Path("~/gallery").expanduser()
    assert gallery_place(kind("file:///srv/gallery")) == Path("/srv/gallery")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket", "names no place in a bucket"),
        ("s3:", "names no place in a bucket"),
        (Path("s3://"), "names no place in a bucket"),
        ("s3:///", "names no place in a bucket"),
        ("s3://bucket/../other", "names no place in a bucket"),
        ("s3://bucket/\x07", "names no place in a bucket"),
        ("s3://key:word@bucket/gallery", "has a user name or a password"),
        ("s3://bucket/gallery?versionId=word", "has a query or a fragment"),
        ("s3+ddb://bucket/gallery?word", "not a local path"),
        ("https://key:word@host/gallery?sig=word", "not a local path"),
        ("hf://datasets/x", "galleries in s3://, gs://, az://"),
    ],
)
def test_other_addresses_of_galleries_are_refused_without_their_secrets(
    url: str, said: str
) -> None:
    for kind in (str, Path) if url != "s3:///" else (str,):
        with pytest.raises(UsageError, match=re.escape(said)) as caught:
            gallery_place(kind(url))
        assert "word@" not in str(caught.value)
        assert "=word" not in str(caught.value)


@given(text=st.text())
def test_any_text_is_a_gallerys_place_or_refused(text: str) -> None:
    for given_text in (text, f"s3://{text}"):
        with suppress(UsageError):
            gallery_place(given_text)
