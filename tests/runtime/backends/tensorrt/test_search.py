"""Whole searches give the same hits with engines of any size as with ONNX Runtime."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Hits, Matcher, Retriever
from itr_deploy.errors import EngineError
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from tests.support.fake_cuda import FakeGpu
from tests.support.items import captions, images, names, texts

Start = Callable[..., tuple[TensorRTBackend, FakeGpu]]

SMALL = {"batch": 3, "queries": 2, "groups": 2, "candidates": 4, "gallery": 5}
"""Smaller than what the searches below would ask for."""


@pytest.fixture(scope="module")
def galleries(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("galleries")
    made = {"image": images(23), "text": texts([3, 9, 4, 8, 12, 5, 6, 7, 9, 10, 11, 3])}
    for modality, items in made.items():
        count = len(items) if modality == "image" else len(items[1])
        Gallery.create(root / modality, matcher, modality).add(names(count), items)  # type: ignore[arg-type]
    return {modality: root / modality for modality in made}


def on(backend: Backend, matcher: Matcher, budget: int = 1 << 30) -> Matcher:
    return Matcher(matcher.bundle, backend, budget)


def searched(
    matcher: Matcher, galleries: dict[str, Path], resident: bool = True, workers: int = 1
) -> list[Hits]:
    """Texts over images and images over texts, over a shortlist and over all items."""
    found: list[Hits] = []
    for candidates in (6, None):
        for modality, path in galleries.items():
            retriever = Retriever(matcher, Gallery.open(path, matcher), resident=resident)
            if modality == "image":
                hits = retriever.search(captions(5), 4, candidates=candidates)
            else:
                hits = retriever.search(image=images(3, seed=1), k=4, candidates=candidates)
            found += hits  # type: ignore[arg-type]
    return found


def assert_same(found: list[Hits], wanted: list[Hits]) -> None:
    assert [hits.ids for hits in found] == [hits.ids for hits in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("version", ["10.3", "11.4", "rtx-1.7"])
def test_every_version_finds_what_onnxruntime_finds(
    version: str, start: Start, matcher: Matcher, galleries: dict[str, Path]
) -> None:
    backend, gpu = start(version)
    assert_same(searched(on(backend, matcher), galleries), searched(matcher, galleries))
    backend.close()
    gpu.assert_clean()


@pytest.mark.parametrize("resident", [True, False])
def test_a_search_asks_no_engine_for_more_than_it_takes(
    resident: bool, start: Start, matcher: Matcher, galleries: dict[str, Path]
) -> None:
    backend, gpu = start(sizes=SMALL)
    found = searched(on(backend, matcher), galleries, resident)
    assert_same(found, searched(matcher, galleries, resident))
    backend.close()
    gpu.assert_clean()


def test_several_workers_find_the_same(
    start: Start, matcher: Matcher, galleries: dict[str, Path]
) -> None:
    backend, gpu = start(sizes=SMALL, workers=4)
    assert_same(searched(on(backend, matcher), galleries), searched(matcher, galleries))
    backend.close()
    gpu.assert_clean()


def test_cuda_graphs_find_the_same(
    start: Start, matcher: Matcher, galleries: dict[str, Path]
) -> None:
    backend, gpu = start(sizes=SMALL, workers=2, cuda_graphs=True)
    own = on(backend, matcher)
    assert_same(searched(own, galleries), searched(matcher, galleries))
    gallery = Gallery.open(galleries["image"], own)
    retriever = Retriever(own, gallery, resident=True, query_budget=0)
    for _ in range(4):
        retriever.search("a dog", candidates=4)
    assert gpu.launches >= 4
    del retriever
    backend.close()
    gpu.assert_clean()


def test_a_resident_gallery_is_copied_once_and_freed_with_it(
    start: Start, matcher: Matcher, galleries: dict[str, Path]
) -> None:
    backend, gpu = start()
    own = on(backend, matcher)
    retriever = Retriever(own, Gallery.open(galleries["image"], own), resident=True)
    retriever.warm_up()
    tensors = matcher.bundle.manifest.images.tensors
    tensor = 23 * 5 * tensors[0].width * 2
    assert gpu.uploads.count(tensor) == len(tensors)
    for _ in range(3):
        retriever.search("a dog", candidates=None)
    assert gpu.uploads.count(tensor) == len(tensors)
    before = gpu.used
    del retriever
    gc.collect()
    assert before - gpu.used == len(tensors) * tensor
    backend.close()
    gpu.assert_clean()


def test_scoring_in_tiles_copies_its_items_once_and_keeps_nothing(
    start: Start, matcher: Matcher
) -> None:
    backend, gpu = start(sizes=SMALL | {"gallery": 64})
    own = on(backend, matcher)
    given = {"texts": own.encode_texts(captions(6)), "images": own.encode_images(images(12))}
    tensor = 12 * 5 * matcher.bundle.manifest.images.tensors[0].width * 4
    before = gpu.uploads.count(tensor)
    scores = own.score(**given)
    groups = len(given["texts"].blocks)
    assert gpu.uploads.count(tensor) - before == len(matcher.bundle.manifest.images.tensors)
    assert groups > 1
    np.testing.assert_allclose(scores, matcher.score(**given), rtol=0, atol=1e-5)
    assert gpu.used == sum(size * len(idle) for size, idle in backend._engines._pool._idle.items())
    backend.close()
    gpu.assert_clean()


def test_an_int8_gallery_is_searched_through_its_engines(
    start: Start, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path, matcher, "image", "int8")
    gallery.add(names(9), images(9))
    wanted = Retriever(matcher, gallery, resident=True).search(captions(2), 4)
    backend, gpu = start()
    found = Retriever(on(backend, matcher), gallery, resident=True).search(captions(2), 4)
    assert_same(found, wanted)
    backend.close()
    gpu.assert_clean()


def test_without_engines_for_int8_galleries_the_one_that_is_missing_is_named(
    start: Start, matcher: Matcher, tmp_path: Path
) -> None:
    Gallery.create(tmp_path, matcher, "image", "int8").add(names(9), images(9))
    graphs = matcher.bundle.manifest.graphs
    backend, _ = start(graphs=[name for name in graphs if not name.endswith("int8")])
    narrow = Retriever(on(backend, matcher), Gallery.open(tmp_path, matcher), resident=True)
    with pytest.raises(EngineError, match="no engine of match_text_to_image_int8 for tensorrt; bu"):
        narrow.search("a dog")
