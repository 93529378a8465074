"""What overflows is refused, and never ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, InputError, Matcher, Regions, Retriever
from itr_deploy.bundle.manifest import StoredTensor
from itr_deploy.runtime.encoding.checks import NotFiniteError, check_encoded
from itr_deploy.runtime.encoding.storage import stored
from itr_deploy.runtime.matcher import Images
from tests.support.items import images


def given(embedding: list[list[float]], rows: list[list[float]]) -> dict[str, np.ndarray]:
    return {
        "image_embedding": np.array(embedding, np.float32),
        "image_regions": np.array(rows, np.float32)[:, None],
    }


UNIT = (StoredTensor(name="regions", width=2, unit=True),)
ANY = (StoredTensor(name="regions", width=2),)


@pytest.mark.parametrize(
    ("embedding", "rows", "tensors"),
    [
        ([[1, 0], [np.nan, 0]], [[1, 0], [1, 0]], ANY),
        ([[1, 0], [1, 0]], [[1, 0], [np.inf, 0]], ANY),
        ([[1, 0], [0, 0]], [[1, 0], [1, 0]], ANY),
        ([[1, 0], [1, 0]], [[1, 0], [0, 0]], UNIT),
        ([[1, 0], [1, 0]], [[1, 0], [2, 0]], UNIT),
    ],
    ids=["NaN", "infinity in a tensor", "embedding of 0", "row of 0", "row of length 2"],
)
def test_what_an_encoder_gives_is_refused_by_the_items_number(
    embedding: list[list[float]], rows: list[list[float]], tensors: tuple[StoredTensor, ...]
) -> None:
    outputs = given(embedding, rows)
    regions = np.full((2, 1, 3), 7e20, np.float32)
    with pytest.raises(NotFiniteError, match=r"^image 41: .* regions up to 7e\+20; extract"):
        check_encoded(outputs, "image", tensors, np.array([40, 41]), regions)


def test_large_values_whose_sum_overflows_are_in_order() -> None:
    outputs = given([[1, 0]], [[3e38, 3e38]])
    check_encoded(outputs, "image", ANY, np.arange(1), np.ones((1, 1, 3), np.float32))


def encoded_by_search(matcher: Matcher, tmp_path: Path, regions: Images) -> Any:
    return Gallery.create(tmp_path / "g", matcher, "image").add(["a", "b", "c"], regions)


@pytest.mark.parametrize("size", [1e20, 1e30, 3e38])
@pytest.mark.parametrize("regions", [1, 5], ids=["one region", "all regions"])
def test_features_on_which_the_model_overflows_are_refused(
    size: float, regions: int, matcher: Matcher, tmp_path: Path
) -> None:
    features = images(3)
    features[1, :regions] = size
    for refusing in (
        lambda: matcher.encode_images(features),
        lambda: matcher.score(texts=["a dog"], images=features),
        lambda: encoded_by_search(matcher, tmp_path, features),
    ):
        with pytest.raises(InputError, match="image 1: the model overflows"):
            refusing()


def test_an_image_of_zeros_is_refused(matcher: Matcher) -> None:
    features = images(3)
    features[2] = 0
    with pytest.raises(InputError, match="regions of image 2 are all 0"):
        matcher.encode_images(features)


def test_a_region_of_zeros_is_refused_unless_counts_say_that_it_is_one(matcher: Matcher) -> None:
    features = images(3, regions=5)
    features[1, 3:] = 0
    with pytest.raises(InputError, match=r"region 3 of image 1 is all 0, as padding .*counts="):
        matcher.encode_images(features)
    assert len(matcher.encode_images(Regions(features, counts=[5, 5, 5]))) == 3


def test_values_that_float16_cannot_hold_are_refused() -> None:
    with pytest.raises(NotFiniteError, match=r"regions has values up to 7e\+04"):
        stored({"regions": np.array([[1, -70_000]], np.float32)}, "float16")


class Spoilt:
    """A backend whose graphs of one kind give NaN for one pair."""

    def __init__(self, backend: Any, graph: str) -> None:
        self._backend, self._graph = backend, graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run_all(self, calls: Any) -> Any:
        calls = list(calls)
        for (graph, _), outputs in zip(calls, self._backend.run_all(calls), strict=True):
            if graph.startswith(self._graph):
                outputs["scores"][0, -1] = np.nan
            yield outputs


@pytest.mark.parametrize(
    ("graph", "options"),
    [
        ("match", {"candidates": None}),
        ("match", {"candidates": 3, "prefilter": None}),
        ("prefilter", {"candidates": 3, "prefilter": 5}),
    ],
    ids=["every item", "a shortlist", "the prefilter"],
)
@pytest.mark.parametrize("resident", [True, False])
def test_a_score_that_is_no_number_is_an_error_and_no_hit(
    graph: str,
    options: dict[str, Any],
    resident: bool,
    matcher: Matcher,
    galleries: dict[str, Gallery],
) -> None:
    spoilt = Matcher(matcher.bundle, Spoilt(matcher.backend, graph))
    retriever = Retriever(spoilt, galleries["image-float16"], resident=resident)
    part = {"match": "matcher", "prefilter": "prefilter"}[graph]
    with pytest.raises(NotFiniteError, match=f"the bundle's {part} gives a score that is NaN"):
        retriever.search("a dog", k=2, **options)
