"""Tests that every family must pass, from the gate to a tuned bundle.

A new family gets a case in `cases`; nothing here depends on which family is tested.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from itr_deploy import Gallery, Hits, Matcher, Regions, Retriever, evaluate, tune, verify
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import EXPLAIN, MATCHERS, MODALITIES, PREFILTERS, Modality
from itr_deploy.bundle.store import PARITY
from itr_deploy.engines.shapes import Overrides, profile_of
from itr_deploy.errors import BundleError
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.models import registry
from itr_deploy.models.contract import DeployedMatcher
from itr_deploy.parity.gate import PRODUCTS
from itr_deploy.parity.trained import read_trained, trained_ids
from itr_deploy.runtime.gallery.held import read_all
from tests.families.cases import CASES, FamilyCase, tier
from tests.families.toys import VECTORS, registered
from tests.support.exports import Bundles
from tests.support.items import names
from tests.support.retrieval import assert_same, on_disk, resident
from tests.support.threads import one_torch_thread

IMAGES, PER_IMAGE = 14, 2
TOLERANCES: dict[StorageType, float] = {"float32": 1e-4, "float16": 1e-2, "int8": 1e-1}


class Deployed:
    """A family's bundle, the model it was made from, and data to search."""

    def __init__(self, case: FamilyCase, bundles: Bundles) -> None:
        self.case = case
        self.path, self.checkpoint = case.bundle(bundles)
        self.matcher = Matcher.load(self.path)
        self.manifest = self.matcher.bundle.manifest
        items = RandomItems(self.matcher)
        self.given = items.images(IMAGES)
        self.regions = self.given if isinstance(self.given, np.ndarray) else self.given.features
        self.captions = items.captions(IMAGES * PER_IMAGE)

    @cached_property
    def trained(self) -> Any:
        return read_trained(self.manifest, self.path, self.checkpoint)

    @cached_property
    def plain(self) -> np.ndarray:
        """Scores ``[images, captions]`` of the published computation."""
        ids, lengths = self.matcher.text.token_ids(self.captions)
        ids = trained_ids(self.manifest, ids)
        with torch.inference_mode(), one_torch_thread():
            found = self.trained.plain.score(
                *self.image_tensors(), *map(torch.from_numpy, (ids, lengths))
            )
        return found.numpy()

    def image_tensors(self) -> list[torch.Tensor]:
        """The images as the plain model takes them."""
        arrays = [self.regions]
        if isinstance(self.given, Regions):
            arrays += [self.given.boxes, self.given.picture_sizes]
        return [torch.from_numpy(array) for array in arrays]

    def write_data(self, root: Path) -> Path:
        """A data directory in the published layout."""
        root.mkdir()
        if self.manifest.images.pictures:
            (root / "images").mkdir()
            for number, picture in enumerate(self.regions):
                Image.fromarray(picture).save(root / "images" / f"{number}.png")
            (root / "test_ids.txt").write_text("\n".join(map(str, range(IMAGES))) + "\n")
        else:
            np.save(root / "test_ims.npy", self.regions)
        if isinstance(self.given, Regions):
            np.save(root / "test_boxes.npy", self.given.boxes)
            np.save(root / "test_img_sizes.npy", self.given.picture_sizes)
        (root / "test_caps.txt").write_text("\n".join(self.captions) + "\n")
        return root

    def items(self, modality: Modality) -> Any:
        return self.given if modality == "image" else self.captions

    def gallery(self, path: Path, modality: Modality, storage: StorageType) -> Gallery:
        gallery = Gallery.create(path, self.matcher, modality, storage)
        items = self.items(modality)
        # Texts whose padding takes part in their encoding depend on those they are added with.
        whole = self.manifest.texts.padded_together is not None
        half = len(items) if whole else len(items) // 2
        gallery.add(names(half), items[:half])
        gallery.add(names(len(items))[half:], items[half:])
        return gallery

    def search(self, retriever: Retriever, **options: Any) -> list[Hits]:
        """With everything that the gallery does not hold."""
        if retriever.gallery.modality == "image":
            return retriever.search(self.captions, **options)
        return retriever.search(image=self.given, **options)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, id=case.name, marks=tier(case)) for case in CASES],
)
def deployed(request: pytest.FixtureRequest, bundles: Bundles) -> Deployed:
    return Deployed(request.param, bundles)


def test_every_registered_family_is_here() -> None:
    assert {case.family for case in CASES} == {family.name for family in registry.FAMILIES}


def test_the_gate_compared_every_output_of_every_graph(deployed: Deployed) -> None:
    report = json.loads((deployed.path / PARITY).read_bytes())
    assert report["passed"] is True
    if deployed.manifest.front is not None:
        pytest.skip("made of bundles that were compared, and compared with them")
    names_of = {key: {entry["name"] for entry in report[key]} for key in ("outputs", "ranks")}
    for graph in deployed.manifest.graphs.values():
        for output in graph.outputs:
            if output.name == "scores":
                assert f"{graph.role}, {graph.storage}" in names_of["outputs"]
            elif graph.storage is None:
                assert output.name in names_of["outputs"]
            else:
                assert f"{graph.role} {output.name}" in names_of["outputs"]
    scored_by = PRODUCTS if deployed.manifest.is_dual_encoder else MATCHERS
    for storage in deployed.manifest.storages:
        for name in scored_by.values():
            assert f"{name}, {storage}" in names_of["outputs"] & names_of["ranks"]
    assert bool(report["invariance"]) == (deployed.manifest.texts.padded_together is None)
    told = deployed.trained.deployed
    roles = {graph.role for graph in deployed.manifest.graphs.values()}
    has_prefilter = isinstance(told, DeployedMatcher) and bool(told.prefilter_image_tensors)
    assert has_prefilter == (set(PREFILTERS.values()) <= roles)
    assert bool(getattr(told, "attention_steps", ())) == (EXPLAIN in roles)


def test_verify_passes_again(deployed: Deployed, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(deployed.path, tmp_path / "bundle"))
    (copy / PARITY).unlink()
    with one_torch_thread():
        report = verify(copy, checkpoint=deployed.checkpoint)
    assert report.passed
    assert json.loads((copy / PARITY).read_bytes())["passed"] is True


def test_scores_are_those_of_the_model(deployed: Deployed) -> None:
    scores = deployed.matcher.score(texts=deployed.captions, images=deployed.given)
    np.testing.assert_allclose(scores, deployed.plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_search_scores_as_the_model_in_memory_and_on_disk(
    modality: Modality, deployed: Deployed, tmp_path: Path
) -> None:
    by_query = deployed.plain.T if modality == "image" else deployed.plain
    items, widths = by_query.shape[1], [{"candidates": None}, {"candidates": 4, "prefilter": None}]
    if deployed.manifest.is_dual_encoder:
        widths[1:] = [{"candidates": None, "k": 4}]
    if deployed.matcher.prefilter is not None:
        widths.append({"candidates": 4, "prefilter": 9})
    for storage in deployed.manifest.storages:
        gallery = deployed.gallery(tmp_path / storage, modality, storage)
        memory, disk = resident(deployed.matcher, gallery), on_disk(deployed.matcher, gallery, 4000)
        for options in widths:
            k = items if options["candidates"] is None else 4
            options = {"k": k, **options}
            k = options["k"]
            found = deployed.search(memory, **options)
            assert_same(deployed.search(disk, **options), found, tolerance=1e-5)
            for row, hits in zip(by_query, found, strict=True):
                expected = row[[int(name.removeprefix("item")) for name in hits.ids]]
                error = np.abs(hits.scores - expected) / (1 + np.abs(expected))
                assert len(hits) == k
                assert error.max() <= TOLERANCES[storage]


def test_a_prefilter_keeps_what_it_scores_highest(deployed: Deployed, tmp_path: Path) -> None:
    prefilter = deployed.matcher.prefilter
    if prefilter is None:
        pytest.skip("the family has none")
    texts = deployed.matcher.encode_texts(deployed.captions)
    images = deployed.matcher.encode_images(deployed.given)
    best = np.argsort(-prefilter.score_all(texts, images), axis=1)[:, :3]
    gallery = deployed.gallery(tmp_path / "gallery", "image", "float32")
    for form in (resident, on_disk):
        retriever = form(deployed.matcher, gallery)
        found = deployed.search(retriever, k=3, candidates=3, prefilter=IMAGES)
        for row, hits in zip(best, found, strict=True):
            assert set(hits.ids) == {names(IMAGES)[place] for place in row}


def test_an_evaluation_recalls_what_the_model_does(deployed: Deployed, tmp_path: Path) -> None:
    data = deployed.write_data(tmp_path / "data")
    report = evaluate(deployed.path, data=data, output=tmp_path / "out")
    assert report.recall == recall(ranks(deployed.plain, PER_IMAGE))


def test_a_tuned_bundle_searches(deployed: Deployed, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(deployed.path, tmp_path / "bundle"))
    data = deployed.write_data(tmp_path / "data")
    found = tune(copy, data=data, split="test", target=0.9, work=tmp_path / "work")
    if deployed.manifest.is_dual_encoder:
        assert found == {}
        return
    assert all(tuned.share >= 0.9 for tuned in found.values())
    matcher = Matcher.load(copy)
    assert matcher.bundle.manifest.pipeline.candidates == found["text"].width
    gallery = deployed.gallery(tmp_path / "gallery", "image", "float16")
    assert len(deployed.search(Retriever(matcher, gallery), k=3)[0]) == 3


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_synthetic_gallery_is_searched(modality: Modality, deployed: Deployed) -> None:
    items = RandomItems(deployed.matcher)
    with synthetic_gallery(deployed.matcher, modality, 300, items) as path:
        hits = deployed.search(Retriever(deployed.matcher, Gallery.open(path)), k=5)
        assert all(len(own) == 5 for own in hits)


def test_a_pair_is_explained_as_the_model_attends_or_refused_in_a_line(deployed: Deployed) -> None:
    caption, exported = deployed.captions[0], deployed.trained.deployed
    explain = deployed.matcher.explain
    if not getattr(exported, "attention_steps", ()):
        with pytest.raises(BundleError) as refused:
            explain(caption, deployed.given[:1])
        assert "\n" not in str(refused.value)
        return
    ids, lengths = map(torch.from_numpy, deployed.matcher.text.token_ids([caption]))
    with torch.inference_mode():
        texts = [tensor[None] for tensor in exported.encode_texts(ids, lengths)[:-1]]
        images = [torch.from_numpy(deployed.regions[:1])]
        given = [tensor[None] for tensor in exported.encode_given(images)[:-1]]
        _, (weights, scores) = exported.match_and_attend(texts, lengths[None], given)
    found = explain(caption, deployed.given[:1])
    length = len(found.words)
    assert length == lengths[0]
    assert tuple((one.step, one.attends) for one in found.steps) == tuple(
        (step.step, step.attends) for step in exported.attention_steps
    )
    for number, one in enumerate(found.steps):
        np.testing.assert_allclose(one.weights, weights[0, 0, 0, number, :length], atol=1e-4)
        np.testing.assert_allclose(one.word_scores, scores[0, 0, 0, number, :length], atol=1e-4)
    assert found.exact


def test_engines_have_shapes_for_every_graph(deployed: Deployed) -> None:
    for name, info in deployed.manifest.graphs.items():
        shapes = profile_of(deployed.manifest, name, Overrides())
        assert set(shapes) == {given.name for given in info.inputs}


@pytest.fixture(scope="module")
def vectors(bundles: Bundles) -> Deployed:
    """A family of which nothing is stored of a region or word."""
    (case,) = (case for case in CASES if case.family == VECTORS.name)
    return Deployed(case, bundles)


def test_images_of_any_number_of_regions_share_a_gallery_of_vectors(
    vectors: Deployed, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", vectors.matcher)
    gallery.add(["a"], vectors.regions[:1, :5])
    gallery.add(["b"], vectors.regions[:1])
    gallery.update(["a"], vectors.regions[:1])
    (hits,) = Retriever(vectors.matcher, gallery).search(vectors.captions[:1])
    assert hits.ids == ("a", "b")
    np.testing.assert_allclose(*hits.scores, atol=1e-6)


def test_vectors_of_texts_lie_in_one_block_whatever_their_lengths(
    vectors: Deployed, tmp_path: Path
) -> None:
    gallery = vectors.gallery(tmp_path / "gallery", "text", "float16")
    (block,) = read_all(gallery).encoded.blocks
    assert len(set(block.lengths.tolist())) > 1


def test_engines_take_as_many_pairs_of_vectors_as_fit(vectors: Deployed) -> None:
    shapes = profile_of(vectors.manifest, MATCHERS["text"], Overrides())
    assert shapes["text_lengths"].max == (32,)
    assert shapes["candidates"].max == (32, 1000)
