"""Ids, metadata and names of columns: what cannot be stored and read again is refused."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryError, ItrDeployError, UsageError
from itr_deploy.runtime.gallery.files import address_of
from itr_deploy.runtime.gallery.given import checked_ids, metadata_table
from tests.support.items import images, names


class Colour(str, Enum):
    RED = "red"


@pytest.mark.parametrize("ids", ["abc", b"abc", None, 3, 2.5, object()])
def test_ids_that_are_no_list_are_refused(ids: Any) -> None:
    with pytest.raises(GalleryError, match=r"^ids is .*, not a list; give a list"):
        checked_ids(ids)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("", "id 1 is ''"),
        (None, "id 1 is None"),
        (3, "id 1 is 3"),
        (b"a", "id 1 is b'a'"),
        (("a", "b"), "id 1 is ('a', 'b')"),
        (np.zeros(10**4), "id 1 is array(["),
        ("a\0", "with a NUL character"),
        ("\0", "with a NUL character"),
        ("\ud800", "half of a surrogate pair"),
        ("a" * 1_025, "id 1 has 1025 characters, the most are 1024"),
        ("first", "id 'first' is given twice"),
    ],
)
def test_an_id_that_cannot_be_stored_is_named(bad: Any, words: str) -> None:
    with pytest.raises(GalleryError) as caught:
        checked_ids(["first", bad])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_ids_may_come_from_numpy_and_enums(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(np.array(["a", "b"]), images(2))
    gallery.add([Colour.RED, "é" * 1_024], images(2))
    assert sorted(gallery.ids()) == ["a", "b", "red", "é" * 1_024]


BAD_NAMES = ["a`b", "`", "", " ", "a.b", "*", "a\0b", "a\nb", "\x7f", "\ud800", "n" * 201, "_x",
             "id", "embedding", "length", "tensor_a", 3, None, b"a", ("a",)]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_column_that_would_poison_the_gallery_is_refused_with_the_remedy(name: Any) -> None:
    with pytest.raises(GalleryError, match=r"^metadata column .*(rename it|give it a name)"):
        metadata_table({name: [1]}, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("ab", "is a str, not a list"),
        (None, "is a NoneType, not a list"),
        ({"a": 1, "b": 2}, "is a dict, not a list"),
        (np.float32(1), "not a list"),
        (np.array(1), "not a list"),
        ([1], "has 1 values for 2 items"),
        ([1, "a"], "metadata column 'c'"),
        (["a", "\ud800"], "metadata column 'c'"),
        ([2**70, 1], "metadata column 'c'"),
        ([1 + 2j, 1], "metadata column 'c'"),
        (np.zeros((2, 2)), "metadata column 'c'"),
        ([object(), object()], "metadata column 'c'"),
        ([{"a`b": 1}, {"a`b": 2}], "metadata column 'a`b' cannot be named so"),
        ([[{"x.y": 1}], []], "metadata column 'x.y' cannot be named so"),
        ([None, None], "holds no value"),
    ],
)
def test_a_column_of_values_that_cannot_be_stored_is_named(values: Any, words: str) -> None:
    with pytest.raises(GalleryError) as caught:
        metadata_table({"c": values}, 2)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [[1], "ab", 3, [("a", [1])]])
def test_metadata_that_is_no_dictionary_is_refused(metadata: Any) -> None:
    with pytest.raises(GalleryError, match="give a dictionary of columns"):
        metadata_table(metadata, 1)


def test_categories_are_stored_as_their_values() -> None:
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    assert metadata_table({"c": column}, 3)["c"].type == pa.string()


@pytest.mark.parametrize(
    "name",
    ["a'b", "a\\b", "a[b]", " a ", "狗", "select", "ID", "a;b", "NULL", "(a)", "n" * 200],
)
def test_a_column_of_any_other_name_is_stored_changed_filtered_and_found(
    name: str, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a", "b"], images(2), {name: [1, 2]})
    gallery.update(["a"], metadata={name: [5]})
    gallery.update(["b"], images(1))
    gallery.add(["c"], images(1), {name: [7]})
    for resident in (True, False):
        retriever = Retriever(matcher, gallery, resident=resident)
        hits = retriever.search("a dog", k=3)
        assert {hit.id: hit.metadata[name] for hit in hits} == {"a": 5, "b": 2, "c": 7}
        assert retriever.search("a dog", k=1, candidates=1, where=f"`{name}` = 5").ids == ("a",)


PLAIN = [
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.dates()),
    *(st.text(max_size=5), st.text(st.characters(), max_size=3), st.binary(max_size=3)),
]
ANY = st.recursive(
    st.one_of(PLAIN),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    ids=ANY, metadata=st.none() | ANY | st.dictionaries(ANY.filter(bool).map(str), ANY, max_size=2)
)
def test_whatever_is_given_is_taken_or_refused_in_one_line(ids: Any, metadata: Any) -> None:
    for call in (lambda: checked_ids(ids), lambda: metadata_table(metadata, 2)):
        said = ""
        try:
            call()
        except GalleryError as error:
            said = str(error)
        assert "\n" not in said


@pytest.mark.parametrize("path", [3, None, b"gallery", "", "a\0b", "\ud800", 2.5])
def test_a_path_that_is_none_is_refused(path: Any, matcher: Matcher) -> None:
    for call in (address_of, Gallery.open, lambda p: Gallery.create(p, matcher)):
        with pytest.raises(ItrDeployError) as caught:
            call(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [300, 5_000])
def test_a_path_that_is_too_long_is_refused(length: int, matcher: Matcher, tmp_path: Path) -> None:
    for call in (Gallery.open, lambda p: Gallery.create(p, matcher)):
        with pytest.raises(UsageError) as caught:
            call(tmp_path / ("n" * length))
        assert "\n" not in str(caught.value)


def test_what_fails_its_checks_changes_nothing(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(2), images(2), {"year": [1, 2]})
    before = gallery.identity
    for ids, metadata in ((["a\0"], None), (["a"], {"a`b": [1]}), (["a"], {"year": ["x"]})):
        with pytest.raises(GalleryError):
            gallery.add(ids, images(1), metadata)
    assert Gallery.open(gallery.path).identity == before


def test_a_value_is_cleared_with_a_list_of_nothing(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(2), images(2), {"price": [1.5, 2.5], "word": ["a", "b"]})
    gallery.update(names(1), metadata={"price": [None], "word": [None]})
    assert gallery.count("price IS NULL AND word IS NULL") == 1
    assert gallery.table.schema.field("price").type == pa.float64()


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ([{"width": 1}], [{"width": 2, "depth": 3}]),
        (pa.array(np.array([1.0], np.float16)), [1e9]),
        (pa.array([1.0], pa.float32()), [1e300]),
        ([1], [1.5]),
    ],
)
def test_what_a_column_would_lose_is_refused(
    stored: Any, given: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], images(1), {"it": stored})
    for change in (
        lambda: gallery.add(["b"], images(1), {"it": given}),
        lambda: gallery.update(["a"], metadata={"it": given}),
    ):
        with pytest.raises(GalleryError, match="metadata column 'it' holds"):
            change()
    assert gallery.ids() == ["a"]
