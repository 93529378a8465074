from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.errors import BundleError
from itr_deploy.runtime.projection import PLAIN
from tests.support import items

COUNT = 60
NAMES = {query: f"coarse_projection-{query}.npy" for query in ("text", "image")}


def with_forms(bundle: Path, **contents: bytes) -> Path:
    """Put files of projections into a bundle as `tune` does."""
    for query, content in contents.items():
        (bundle / NAMES[query]).write_bytes(content)
    manifest = read_bundle(bundle).manifest
    named = {f"{query}_query_projection": NAMES[query] for query in contents}
    changes = {"pipeline": manifest.pipeline.model_copy(update=named), "files": list_files(bundle)}
    write_manifest(bundle, manifest.model_copy(update=changes))
    return bundle


def npy(array: Any, save: Any = np.save) -> bytes:
    buffer = io.BytesIO()
    save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def forms(matcher: Matcher) -> dict[str, np.ndarray]:
    width = matcher.bundle.manifest.embedding_dim
    rng = np.random.default_rng(0)
    return {query: rng.standard_normal((width, width), np.float32) for query in NAMES}


def test_a_bundle_without_one_leaves_queries_as_they_are(matcher: Matcher) -> None:
    assert matcher.projection.forms == {}
    vectors = np.ones((2, 3), np.float32)
    assert PLAIN.query("text", vectors) is vectors


def test_the_form_of_the_querys_modality_is_applied(
    bundle_copy: Path, forms: dict[str, np.ndarray]
) -> None:
    found = Matcher.load(with_forms(bundle_copy, image=npy(forms["image"]))).projection
    vectors = np.random.default_rng(1).standard_normal((3, len(forms["image"])), np.float32)
    assert (found.query("image", vectors) == vectors @ forms["image"]).all()
    assert found.query("text", vectors) is vectors


@pytest.mark.parametrize("query", ["text", "image"])
@pytest.mark.parametrize("prefilter", [None, 20])
def test_searches_in_memory_and_on_disk_shortlist_by_it_alike(
    query: str,
    prefilter: int | None,
    bundle_copy: Path,
    forms: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    plain = Matcher.load(bundle_copy)
    matcher = Matcher.load(with_forms(bundle_copy, **{query: npy(forms[query])}))
    regions, captions = items.images(COUNT), items.captions(COUNT)
    holds = "text" if query == "image" else "image"
    gallery = Gallery.create(tmp_path / "g", plain, holds, "float32")
    gallery.add(items.names(COUNT), captions if holds == "text" else regions)
    asked: dict[str, Any] = {"image": items.images(4, seed=1)}
    queries = matcher.encode_images(asked["image"])
    stored = matcher.encode_texts(captions)
    if query == "text":
        asked = {"query": items.captions(4, seed=1)}
        queries, stored = matcher.encode_texts(asked["query"]), matcher.encode_images(regions)
    width = prefilter or 5
    coarse = queries.embedding @ forms[query] @ stored.embedding.T
    shortlists = np.array(items.names(COUNT))[np.argsort(-coarse)[:, :width]]
    found = [
        Retriever(matcher, gallery, resident=resident).search(
            **asked, k=5, candidates=5, prefilter=prefilter
        )
        for resident in (True, False)
    ]
    for in_memory, on_disk, shortlist in zip(*found, shortlists, strict=True):
        assert in_memory.ids == on_disk.ids
        assert set(in_memory.ids) <= set(shortlist.tolist())
    # The matcher's scores are its own: with every item a candidate nothing changes.
    every, without = (
        Retriever(one, gallery).search(**asked, k=5, candidates=None) for one in (matcher, plain)
    )
    assert [hits.ids for hits in every] == [hits.ids for hits in without]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a NumPy array"),
        (b"no array at all", "not a NumPy array"),
        (npy(np.array([{}], object)), "not a NumPy array"),
        (npy(np.eye(24), np.savez), "an archive"),
        (npy(np.eye(24)), "float64 [24, 24]"),
        (npy(np.eye(7, dtype=np.float32)), "float32 [7, 7]"),
        (npy(np.full((24, 24), np.nan, np.float32)), "not finite"),
    ],
)
def test_a_file_that_is_no_form_is_one_clear_error(
    bundle_copy: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(BundleError) as error:
        Matcher.load(with_forms(bundle_copy, text=content))
    assert problem in str(error.value)
    assert "itr-deploy tune" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_found_by_its_checksum(
    bundle_copy: Path, forms: dict[str, np.ndarray]
) -> None:
    with_forms(bundle_copy, text=npy(forms["text"]))
    (bundle_copy / NAMES["text"]).write_bytes(npy(forms["text"] + 1))
    with pytest.raises(BundleError, match="does not match its checksum"):
        Matcher.load(bundle_copy)


def test_a_named_file_that_is_not_listed_is_refused(bundle_copy: Path) -> None:
    manifest = read_bundle(bundle_copy).manifest
    pipeline = manifest.pipeline.model_copy(update={"text_query_projection": "../away.npy"})
    write_manifest(bundle_copy, manifest.model_copy(update={"pipeline": pipeline}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        read_bundle(bundle_copy)
