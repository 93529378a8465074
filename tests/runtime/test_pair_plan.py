from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Encoded, Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import TensorInfo
from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, Roles, other
from itr_deploy.bundle.store import read_bundle
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.pair_plan import PairPlan
from itr_deploy.runtime.tiles import Limits
from tests.support.items import images, names, texts

LIMITS = Limits(budget=1 << 20, workers=2)


@pytest.fixture(scope="module")
def sides(matcher: Matcher) -> dict[str, Encoded]:
    return {
        "image": matcher.encode_images(images(3, 7)),
        "text": matcher.encode_token_ids(*texts([5, 5])),
    }


@pytest.mark.parametrize("roles", [MATCHERS, PREFILTERS], ids=["matcher", "prefilter"])
@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_an_item_costs_what_the_graph_gathers_of_it_in_float32(
    modality: str, storage: str, roles: Roles, matcher: Matcher, sides: dict[str, Encoded]
) -> None:
    manifest = matcher.bundle.manifest
    plan = PairPlan.of(manifest, matcher.backend, roles, LIMITS, modality, storage)
    (query,) = sides[modality].blocks
    side = other(modality)
    (items,) = sides[side].stored_as(storage).blocks
    read = {given.name for given in manifest.graphs[plan.graph].inputs}
    gathered = [t[0] for name, t in items.tensors.items() if f"{side}_{name}" in read]
    cost = plan.cost(query, items)
    assert cost.item == sum(4 * int(np.prod(tensor.shape)) for tensor in gathered)
    assert cost.pair == manifest.workspace.pair_bytes(5, 7)
    assert set(plan.item_inputs) == {n for n in items.tensors if f"{side}_{n}" in read}


def test_a_vector_of_an_item_is_gathered_once_whatever_its_regions(
    matcher: Matcher, sides: dict[str, Encoded]
) -> None:
    manifest = matcher.bundle.manifest
    graph = manifest.graphs["match_text_to_image"]
    vector = TensorInfo(name="image_vector", dtype="float16", shape=("gallery", 24))
    with_vector = graph.model_copy(update={"inputs": (*graph.inputs, vector)})
    changed = manifest.model_copy(update={"graphs": {"match_text_to_image": with_vector}})
    given = matcher.backend, MATCHERS, LIMITS, "text", "float16"
    plain, more = PairPlan.of(manifest, *given), PairPlan.of(changed, *given)
    for regions in (1, 7):
        (query,), (items,) = sides["text"].blocks, matcher.encode_images(images(1, regions)).blocks
        assert more.cost(query, items).item - plain.cost(query, items).item == 4 * 24
    assert more.item_inputs["vector"] == "image_vector"


class Narrow(OnnxRuntimeBackend):
    """Graphs that take few of everything; counts how often it is asked for that."""

    asked = 0
    SIZES = {"queries": 5, "groups": 2, "candidates": 4, "gallery": 9}  # noqa: RUF012

    def max_size(self, graph: str, axis: str) -> int | None:  # type: ignore[override]
        self.asked += 1
        return self.SIZES.get(axis)


def test_a_backend_is_asked_once_for_the_sizes_that_its_graphs_take(
    bundle: Path, tmp_path: Path
) -> None:
    opened = read_bundle(bundle)
    backend = Narrow(opened)
    plan = PairPlan.of(opened.manifest, backend, MATCHERS, LIMITS, "text", "float16")
    assert (plan.items, plan.shared.queries, plan.own.queries) == (9, 5, 2)
    assert plan.shared.candidates == plan.own.candidates == 4
    assert (plan.shared.budget, plan.shared.workers) == (LIMITS.budget, LIMITS.workers)
    gallery = Gallery.create(tmp_path / "gallery", Matcher(opened, backend))
    gallery.add(names(20), images(20))
    retriever = Retriever(Matcher(opened, backend), gallery, query_budget=0)
    image = retriever.search("a dog", k=5, candidates=10, prefilter=15)
    asked = backend.asked
    assert retriever.search("a dog", k=5, candidates=10, prefilter=15).ids == image.ids
    # The encoder alone asks again, for the size of a batch.
    assert backend.asked == asked + 1
