"""Which shapes engines accept: the manifest's defaults, and the user's values instead."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from itr_deploy.bundle.manifest import GraphInfo, Manifest, Pipeline, TensorInfo
from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.files import ShapeRange
from itr_deploy.engines.shapes import MOST_ELEMENTS, SCRATCH, Overrides, profile_of
from itr_deploy.errors import EngineError, UsageError

MATCHER = "match_text_to_image"


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return read_bundle(bundle).manifest


def profile(manifest: Manifest, graph: str, **given: dict[str, int]) -> dict[str, ShapeRange]:
    return profile_of(manifest, graph, Overrides(**given))


def resized(manifest: Manifest, graph: str, **sizes: int | str) -> Manifest:
    """A manifest in which axes of a graph are fixed, or its widths are others."""
    info = manifest.graphs[graph]
    inputs = tuple(
        TensorInfo(
            name=given.name,
            dtype=given.dtype,
            shape=tuple(
                sizes.get(axis, axis) if isinstance(axis, str) else sizes.get("width", axis)
                for axis in given.shape
            ),
        )
        for given in info.inputs
    )
    changed = info.model_copy(update={"inputs": inputs})
    return manifest.model_copy(update={"graphs": {**manifest.graphs, graph: changed}})


def test_every_input_of_every_graph_is_covered_and_its_range_is_in_order(
    manifest: Manifest,
) -> None:
    for name, info in manifest.graphs.items():
        shapes = profile(manifest, name)
        assert shapes.keys() == {given.name for given in info.inputs}
        for given in info.inputs:
            sizes = shapes[given.name]
            for axis, *bounds in zip(given.shape, sizes.min, sizes.opt, sizes.max, strict=True):
                assert 1 <= bounds[0] <= bounds[1] <= bounds[2]
                assert isinstance(axis, str) or set(bounds) == {axis}


def test_the_encoders_take_batches_of_up_to_64(manifest: Manifest) -> None:
    assert profile(manifest, "image_encoder")["regions"] == ShapeRange(
        min=(1, 1, 32), opt=(8, 36, 32), max=(64, 100, 32)
    )
    assert profile(manifest, "text_encoder")["token_ids"] == ShapeRange(
        min=(1, 1), opt=(8, 16), max=(64, 64)
    )


def test_a_matcher_takes_the_shortlist_out_of_a_gallery(manifest: Manifest) -> None:
    shapes = profile(manifest.model_copy(update={"pipeline": Pipeline()}), MATCHER)
    assert (shapes["candidates"].opt, shapes["candidates"].max[1]) == ((1, 200), 1000)
    queries = shapes["text_lengths"].max[0]
    assert shapes["candidates"].max[0] == queries > 1
    assert shapes["image_regions"].opt == (1000, 36, 24)
    assert profile(manifest, "match_image_to_text")["text_words"].max[0] == 1_000_000


@pytest.mark.parametrize(("width", "most"), [(50, 1000), (3000, 3000), (None, 1000)])
def test_the_width_of_the_shortlist_is_what_a_matcher_is_fastest_at(
    manifest: Manifest, width: int | None, most: int
) -> None:
    other = manifest.model_copy(update={"pipeline": Pipeline(candidates=width)})
    assert profile(other, MATCHER)["candidates"].opt[1] == (width or 1000)
    assert profile(other, MATCHER)["candidates"].max[1] == most


def test_each_direction_has_its_own_shortlist(manifest: Manifest) -> None:
    pipeline = Pipeline(candidates=50, image_query_candidates=70)
    other = manifest.model_copy(update={"pipeline": pipeline})
    assert profile(other, MATCHER)["candidates"].opt[1] == 50
    assert profile(other, "match_image_to_text")["candidates"].opt[1] == 70


def test_a_prefilter_is_fastest_at_its_own_wider_shortlist(manifest: Manifest) -> None:
    pipeline = Pipeline(candidates=50, prefilter=400, image_query_prefilter=700)
    other = manifest.model_copy(update={"pipeline": pipeline})
    assert profile(other, "prefilter_text_to_image")["candidates"].opt[1] == 400
    assert profile(other, "prefilter_image_to_text")["candidates"].opt[1] == 700
    assert profile(other, MATCHER)["candidates"].opt[1] == 50
    without = manifest.model_copy(update={"pipeline": Pipeline()})
    assert profile(without, "prefilter_text_to_image")["candidates"].opt[1] == 1000


def test_wide_gallery_tensors_make_the_largest_gallery_smaller(manifest: Manifest) -> None:
    wide = resized(manifest, MATCHER, width=1024)
    shape = profile(wide, MATCHER)["image_regions"].max
    assert shape == (MOST_ELEMENTS // (100 * 1024), 100, 1024)
    assert math.prod(shape) <= MOST_ELEMENTS < math.prod(shape) + 100 * 1024
    fewer = profile(wide, MATCHER, max={"regions": 36})
    assert fewer["image_regions"].max[0] == MOST_ELEMENTS // (36 * 1024)


def test_large_pairs_make_the_largest_number_of_queries_smaller(manifest: Manifest) -> None:
    space = manifest.workspace.model_copy(update={"per_word": 8192, "per_region": 8192})
    large = manifest.model_copy(update={"workspace": space})
    assert profile(large, MATCHER)["text_lengths"].max == (1,)
    fewer = profile(large, MATCHER, max={"candidates": 100})["text_lengths"].max[0]
    assert 1 < fewer * 100 * space.pair_bytes(64, 100) <= SCRATCH


def test_a_fixed_axis_stays(manifest: Manifest) -> None:
    fixed = resized(manifest, "image_encoder", regions=36)
    assert profile(fixed, "image_encoder")["regions"].min == (1, 36, 32)
    with pytest.raises(UsageError, match=r"no axis 'regions'; the graphs have batch$"):
        Overrides(max={"regions": 40}).check_axes(fixed, ["image_encoder"])


def test_texts_are_no_longer_than_the_model_reads(manifest: Manifest) -> None:
    short = manifest.model_copy(
        update={"texts": manifest.texts.model_copy(update={"max_tokens": 9})}
    )
    assert profile(short, "text_encoder")["token_ids"].opt == (8, 9)
    assert profile(short, "text_encoder")["token_ids"].max == (64, 9)
    with pytest.raises(UsageError, match=r"axis length: max 10; .* at most 9 tokens"):
        profile(short, "text_encoder", max={"length": 10})


def test_sizes_that_are_given_replace_the_defaults_and_the_others_make_way(
    manifest: Manifest,
) -> None:
    given = {"max": {"regions": 20, "batch": 200}, "opt": {"batch": 100}}
    assert profile(manifest, "image_encoder", **given)["regions"] == ShapeRange(
        min=(1, 1, 32), opt=(100, 20, 32), max=(200, 20, 32)
    )
    given = {"min": {"regions": 200, "batch": 16}}
    assert profile(manifest, "image_encoder", **given)["regions"] == ShapeRange(
        min=(16, 200, 32), opt=(16, 200, 32), max=(64, 200, 32)
    )


def test_the_groups_follow_the_queries_that_are_given(manifest: Manifest) -> None:
    assert profile(manifest, MATCHER, max={"queries": 7})["candidates"].max[0] == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min": {"batch": 8}, "max": {"batch": 4}}, "axis batch: min 8, max 4; must be 1 <= min"),
        ({"opt": {"batch": 9}, "max": {"batch": 4}}, "axis batch: opt 9, max 4; must be 1 <= min"),
        ({"min": {"batch": 0}}, "axis batch: min 0; must be 1 <= min"),
    ],
)
def test_sizes_out_of_order_are_refused(
    manifest: Manifest, given: dict[str, dict[str, int]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        profile(manifest, "image_encoder", **given)


def test_an_axis_that_no_graph_has_is_refused_with_those_there_are(manifest: Manifest) -> None:
    with pytest.raises(UsageError) as caught:
        Overrides(opt={"lenght": 4}).check_axes(manifest, ["text_encoder", "image_encoder"])
    assert str(caught.value) == (
        "opt_shapes= (--opt-shapes): no axis 'lenght'; the graphs have batch, length, regions"
    )


def test_a_tensor_that_is_too_large_is_refused_with_its_axes(manifest: Manifest) -> None:
    with pytest.raises(UsageError) as caught:
        profile(manifest, MATCHER, max={"gallery": 10_000_000})
    assert "image_regions of gallery 10000000, regions 100 has 24,000,000,000 elements" in str(
        caught.value
    )


def test_an_axis_of_a_later_version_is_an_engine_error(manifest: Manifest) -> None:
    odd = resized(manifest, "image_encoder", batch="frames")
    with pytest.raises(EngineError, match="has an axis 'frames', this version knows batch"):
        profile(odd, "image_encoder")


def test_a_reranker_takes_few_lists_at_a_time(manifest: Manifest) -> None:
    lists = GraphInfo(
        role="rerank_text_to_image",
        file="graphs/rerank_text_to_image.onnx",
        opset=20,
        inputs=(TensorInfo(name="edges", dtype="float32", shape=("batch", 8, 8)),),
        outputs=(TensorInfo(name="scores", dtype="float32", shape=("batch", 7)),),
    )
    other = manifest.model_copy(update={"graphs": {"rerank_text_to_image": lists}})
    assert profile(other, "rerank_text_to_image")["edges"].max == (32, 8, 8)
