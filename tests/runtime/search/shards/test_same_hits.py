"""A search over shards finds what a search of the whole gallery finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from tests.support.duals import VSE, export_words
from tests.support.exports import Bundles
from tests.support.items import captions, images, names
from tests.support.retrieval import CONDITIONS, COUNT, assert_same, columns, search, shown
from tests.support.shards import sharded

FORMS: dict[str, dict[str, Any]] = {
    "in memory": {"resident": True},
    "vectors in memory": {"resident": False, "memory_budget": 1 << 24},
    "on disk": {"resident": False, "memory_budget": 1000},
}


@dataclass(frozen=True)
class Both:
    """A gallery, whole and in any number of shards."""

    matcher: Matcher
    gallery: Path
    root: Path
    _found: dict[Any, Retriever] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Retriever:
        return Retriever.load(self.matcher.bundle.path, self.gallery, resident=True)

    def shards(self, count: int, form: str) -> Retriever:
        if (count, form) not in self._found:
            output = self.root / f"{self.gallery.name}-{count}"
            if not output.exists():
                sharded(self.gallery, output, count)
            loaded = Retriever.load(self.matcher.bundle.path, output, **FORMS[form])
            self._found[count, form] = loaded
        return self._found[count, form]


@pytest.fixture(scope="module")
def kinds(
    matcher: Matcher,
    galleries: dict[str, Gallery],
    repeated: Gallery,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Both]:
    root = tmp_path_factory.mktemp("sharded")
    chosen = {**galleries, "repeated": repeated}
    return {kind: Both(matcher, Path(one.path), root / kind) for kind, one in chosen.items()}


@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(["image-float16", "image-int8", "text-float16", "repeated"]),
    count=st.sampled_from([1, 2, 5]),
    form=st.sampled_from([*FORMS]),
    k=st.sampled_from([1, 4, 10, 60, 2 * COUNT]),
    candidates=st.none() | st.integers(1, COUNT + 10),
    prefilter=st.none() | st.integers(1, COUNT + 10),
    refine=st.none() | st.integers(1, COUNT + 10),
    where=st.sampled_from(CONDITIONS),
)
def test_whatever_is_asked(
    kinds: dict[str, Both],
    kind: str,
    count: int,
    form: str,
    k: int,
    candidates: int | None,
    prefilter: int | None,
    refine: int | None,
    where: str | None,
) -> None:
    if kind == "repeated" and where is not None:
        where = "image >= 4"
    how = {"k": k, "candidates": candidates, "where": where}
    how |= {"prefilter": prefilter, "refine": refine}
    one, many = kinds[kind].whole, kinds[kind].shards(count, form)
    assert_same(search(many, **how), search(one, **how))


def test_the_defaults_and_a_single_query_give_equal_hits(kinds: dict[str, Both]) -> None:
    one, many = kinds["image-float16"].whole, kinds["image-float16"].shards(5, "in memory")
    for query in captions(20, seed=3):
        found = many.search(query)
        assert_same([found], [one.search(query)])
        assert found.shards is not None
        assert (found.shards.total, found.shards.answered, found.partial) == (5, 5, False)
    assert many.search([]) == []
    assert one.search("a dog").shards is None


def test_ties_are_broken_as_in_the_whole_gallery(kinds: dict[str, Both]) -> None:
    one, many = kinds["repeated"].whole, kinds["repeated"].shards(5, "in memory")
    for k in (3, 10, 11, 35):
        for how in ({"candidates": None}, {"candidates": 12, "prefilter": None}):
            for query in captions(4, seed=5):
                found = many.search(query, k, **how)
                assert_same([found], [one.search(query, k, **how)])
                assert len({float(score) for score in found.scores}) < max(2, k)


def test_what_is_told_of_items_is_that_of_the_whole_gallery(kinds: dict[str, Both]) -> None:
    one, many = kinds["image-float16"].whole, kinds["image-float16"].shards(5, "in memory")
    texts, ids = captions(3, seed=1), ["item0007", "item0001", "item0007", "item0090"]
    np.testing.assert_allclose(many.score(texts, ids), one.score(texts, ids), atol=1e-6)
    found, expected = (each.explain(texts[0], "item0042") for each in (many, one))
    np.testing.assert_array_equal(found.attention, expected.attention)
    assert found.score == expected.score
    assert many.gallery.lookup(["item0004", "none"]) == one.gallery.lookup(["item0004", "none"])
    assert many.gallery.count() == one.gallery.count() == COUNT
    assert many.gallery.count("year < 9") == 9
    assert many.gallery.column_types == one.gallery.column_types


@pytest.mark.parametrize("form", [*FORMS])
def test_items_that_come_and_go(matcher: Matcher, tmp_path: Path, form: str) -> None:
    """After changes of the shards, of which one is left without items."""
    whole = Gallery.create(tmp_path / "whole", matcher)
    whole.add(names(COUNT), images(COUNT), columns())
    shards = sharded(tmp_path / "whole", tmp_path / "shards", 3)
    one = Retriever.load(matcher.bundle.path, tmp_path / "whole")
    many = Retriever.load(matcher.bundle.path, tmp_path / "shards", **FORMS[form])
    assert_same(search(many), search(one))
    emptied = [name for name in names(COUNT) if shards.path_of(name) == shards.paths[1]]
    gone = [*emptied, *(set(names(40)) - {*emptied})]
    new = names(30, prefix="new")
    whole.delete(gone)
    whole.add(new, images(30, seed=8), columns(30))
    for path, places in shards.split(gone).items():
        Gallery.open(path).delete([gone[place] for place in places])
    for path, places in shards.split(new).items():
        if path != shards.paths[1]:
            own = {name: [values[p] for p in places] for name, values in columns(30).items()}
            Gallery.open(path, matcher).add(
                [new[place] for place in places], images(30, seed=8)[places], own
            )
    whole.delete([name for name in new if shards.path_of(name) == shards.paths[1]])
    assert one.refresh()
    assert many.refresh()
    assert not many.refresh()
    for how in ({}, {"candidates": None}, {"candidates": 12, "prefilter": 30, "k": 4}):
        assert_same(search(many, **how), search(one, **how))
    assert many.searched is not None
    assert many.searched.items == whole.count()


def test_a_dual_encoders_hits(bundles: Bundles, tmp_path: Path) -> None:
    matcher = Matcher.load(bundles.of(*export_words(VSE[0])))
    width = matcher.bundle.manifest.images.feature_dim
    rng = np.random.default_rng(2)
    items = rng.standard_normal((90, 6, width), np.float32).repeat(2, axis=0)
    gallery = Gallery.create(tmp_path / "whole", matcher)
    gallery.add(rng.permutation(names(180)).tolist(), items, columns(180))
    sharded(tmp_path / "whole", tmp_path / "shards", 4)
    queries = [" ".join(matcher.text.words[n : n + 6]) for n in range(5)]
    one = Retriever.load(matcher.bundle.path, tmp_path / "whole")
    for form in FORMS.values():
        many = Retriever.load(matcher.bundle.path, tmp_path / "shards", **form)
        for how in ({}, {"k": 3, "where": "year > 50"}, {"k": 500}):
            for query in queries:
                found, expected = many.search(query, **how), one.search(query, **how)
                assert shown(found) == shown(expected)
                np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
