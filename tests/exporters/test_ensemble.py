from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from tests.support.command import itr_deploy
from tests.support.duals import GRID, PICTURES, VSE, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.projection import tuned_copy


@pytest.fixture(scope="module")
def other(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second matcher of the same inputs: the first with its scores doubled."""
    copy = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("other") / "bundle"))
    for path in sorted((copy / "graphs").glob("match_*.onnx")):
        model = onnx.load(path, load_external_data=False)
        for node in model.graph.node:
            if node.output[0] == "scores":
                node.output[0] = "half_scores"
        model.graph.node.append(
            onnx.helper.make_node("Add", ["half_scores", "half_scores"], ["scores"])
        )
        onnx.save(model, path)
    manifest = read_bundle(bundle).manifest
    write_manifest(
        copy,
        manifest.model_copy(update={"files": list_files(copy), "encoding_id": "0" * 64}),
    )
    return copy


@pytest.fixture(scope="module")
def made(bundle: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ensemble") / "both"
    weights = ("--weight", "3", "--weight", "1")
    outcome = itr_deploy("ensemble", bundle, other, *weights, "--output", path)
    assert outcome.code == 0, outcome.err
    return path


def scores(path: Path) -> np.ndarray:
    texts = (FULL.token_ids, FULL.lengths)
    return Matcher.load(path).score(texts=texts, images=FULL.regions)


def test_the_score_is_the_weighted_mean_of_the_members(
    made: Path, bundle: Path, other: Path
) -> None:
    first, second = scores(bundle), scores(other)
    np.testing.assert_allclose(second, 2 * first, atol=1e-5)
    np.testing.assert_allclose(scores(made), (3 * first + second) / 4, atol=1e-6)


def test_the_prefilter_is_the_weighted_mean_of_the_members(
    made: Path, bundle: Path, other: Path
) -> None:
    def prefiltered(path: Path) -> np.ndarray:
        matcher = Matcher.load(path)
        assert matcher.prefilter is not None
        texts = matcher.encode_token_ids(FULL.token_ids, FULL.lengths)
        return matcher.prefilter.score_all(texts, matcher.encode_images(FULL.regions))

    mean = (3 * prefiltered(bundle) + prefiltered(other)) / 4
    np.testing.assert_allclose(prefiltered(made), mean, atol=1e-6)


def test_without_a_prefilter_in_every_member_there_is_none(
    bundle: Path, without_prefilter: Path, tmp_path: Path
) -> None:
    for number, members in enumerate(((bundle, without_prefilter), (without_prefilter, bundle))):
        outcome = itr_deploy("ensemble", *members, "--output", tmp_path / str(number))
        assert outcome.code == 0, outcome.err
        joined = Matcher.load(tmp_path / str(number))
        assert joined.prefilter is None
        assert joined.bundle.manifest.pipeline == Pipeline()


def test_one_gallery_stores_what_both_members_need(made: Path, tmp_path: Path) -> None:
    matcher = Matcher.load(made)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    ids = [f"image{number}" for number in range(len(FULL.regions))]
    gallery.add(ids, FULL.regions)
    names = [spec.name for spec in gallery.description.tensors]
    assert {"m0_regions", "m1_regions"} <= set(names)
    expected = matcher.score(texts=FULL.captions[:1], images=FULL.regions)[:, 0]
    for resident in (True, False):
        retriever = Retriever(matcher, gallery, resident=resident)
        hits = retriever.search(FULL.captions[0], k=len(ids), candidates=None)
        got = [hits.scores[hits.ids.index(name)] for name in ids]
        np.testing.assert_allclose(got, expected, atol=5e-3)
        assert retriever.search(FULL.captions[0], k=2, candidates=3).ids[0] in ids


def test_the_coarse_product_is_the_weighted_mean_of_the_members(
    made: Path, bundle: Path, other: Path
) -> None:
    def coarse(path: Path) -> np.ndarray:
        matcher = Matcher.load(path)
        images = matcher.encode_images(FULL.regions)
        texts = matcher.encode_token_ids(FULL.token_ids, FULL.lengths)
        return images.embedding @ texts.embedding.T

    mean = (3 * coarse(bundle) + coarse(other)) / 4
    np.testing.assert_allclose(coarse(made), mean, atol=1e-6)


def test_the_manifest_and_inspect_name_the_members(made: Path, bundle: Path) -> None:
    shown = itr_deploy("inspect", made, "--json").json
    assert [member["weight"] for member in shown["members"]] == [0.75, 0.25]
    members = read_bundle(made).manifest.members
    assert members[0].encoding_id == read_bundle(bundle).manifest.encoding_id
    assert itr_deploy("inspect", made).code == 0


def test_a_members_projection_is_not_the_ensembles(
    bundle: Path, other: Path, tmp_path: Path
) -> None:
    tuned = tuned_copy(bundle, tmp_path / "tuned")
    outcome = itr_deploy("ensemble", tuned, other, "--output", tmp_path / "both")
    assert outcome.code == 0, outcome.err
    pipeline = read_bundle(tmp_path / "both").manifest.pipeline
    assert not pipeline.projections
    assert pipeline.width("image") == 9
    assert not list((tmp_path / "both").glob("*.npy"))


def test_weights_are_kept_once(made: Path, bundle: Path) -> None:
    own = (bundle / "graphs" / "weights.bin").stat().st_size
    assert (made / "graphs" / "weights.bin").stat().st_size <= own + 4096


@pytest.mark.parametrize(
    "weights", [("1",), ("1", "0"), ("1", "-1"), ("1", "1", "1"), ("1e30", "1")]
)
def test_weights_that_do_not_fit_are_wrong_usage(
    weights: tuple[str, ...], bundle: Path, other: Path, tmp_path: Path
) -> None:
    flags = [word for weight in weights for word in ("--weight", weight)]
    outcome = itr_deploy("ensemble", bundle, other, *flags, "--output", tmp_path / "both")
    assert outcome.code == 2
    assert "weights" in outcome.error
    assert not list(tmp_path.iterdir())


def test_one_member_is_no_ensemble(bundle: Path, tmp_path: Path) -> None:
    outcome = itr_deploy("ensemble", bundle, "--output", tmp_path / "both")
    assert outcome.code == 2
    assert "at least two members" in outcome.error


def test_members_of_other_inputs_are_refused(
    bundle: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    manifest = read_bundle(bundle_copy).manifest
    images = manifest.images.model_copy(update={"feature_dim": 33})
    write_manifest(bundle_copy, manifest.model_copy(update={"images": images}))
    outcome = itr_deploy("ensemble", bundle, bundle_copy, "--output", tmp_path / "both")
    assert outcome.code == 1
    assert "the width of a region is 33, but 32" in outcome.error
    assert not (tmp_path / "both").exists()


def test_an_ensemble_is_verified_through_its_members(made: Path) -> None:
    outcome = itr_deploy("verify", made, "--checkpoint", FULL.checkpoint)
    assert outcome.code == 2
    assert "verify the members" in outcome.error


@pytest.mark.slow
def test_models_of_pictures_are_members_of_one_another_alone(
    bundles: Bundles, tmp_path: Path
) -> None:
    grid, regions = (bundles.of(*export_words(case)) for case in (GRID, VSE[2]))
    outcome = itr_deploy("ensemble", grid, grid, "--output", tmp_path / "two")
    assert outcome.code == 0, outcome.err
    scores = Matcher.load(tmp_path / "two").score(texts=GRID.captions, images=PICTURES)
    np.testing.assert_allclose(scores, GRID.expected["scores"].numpy(), atol=1e-4)
    refused = itr_deploy("ensemble", grid, regions, "--output", tmp_path / "both")
    assert refused.code == 1
    assert "the kind of images is regions, but pictures in" in refused.err
