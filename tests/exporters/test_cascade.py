"""A dual encoder in front of a matcher: what the bundle of both computes, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import itr_deploy as library
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import NltkWords, Provenance, RerankDirection, Reranker
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.errors import BundleError, GalleryError, OutputError, ParityError, UsageError
from itr_deploy.exporters import cascade as exporter
from itr_deploy.models.vse_infty.config import VseInftyConfig, Words
from itr_deploy.models.vse_infty.plain import VseInfty
from itr_deploy.parity.trained import trained_ids
from tests.families.cases import _toy, toy_cascade
from tests.families.toys import DUAL, IMAGE_DIM, OTHER_WORDS, VIEWS, WIDTH, WORDS, registered
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.items import names
from tests.support.projection import tuned_copy
from tests.support.retrieval import on_disk, resident
from tests.support.threads import one_torch_thread

COUNT = 60
TEXTS = ["a red dog", "the cat sits", "a bird runs on grass", "blue house"]
"""Two know of `bird` the dual encoder alone, of `a` and `blue` the matcher alone."""


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def toys(bundles: Bundles) -> tuple[Path, Path, Path, Path]:
    return toy_cascade(bundles)


@pytest.fixture(scope="module")
def both(toys: tuple[Path, ...]) -> Path:
    return toys[0]


@pytest.fixture(scope="module")
def front(toys: tuple[Path, ...]) -> Path:
    return toys[1]


@pytest.fixture(scope="module")
def scoring(toys: tuple[Path, ...]) -> Path:
    """The matcher's bundle."""
    return toys[2]


@pytest.fixture(scope="module")
def regions() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, 4, IMAGE_DIM), dtype=np.float32)


def changed(bundle: Path, copy: Path, part: str = "", **update: Any) -> Path:
    """A copy of a bundle with other entries in its manifest, or in a part of it."""
    shutil.copytree(bundle, copy)
    manifest = read_bundle(copy).manifest
    if part:
        update = {part: getattr(manifest, part).model_copy(update=update)}
    write_manifest(copy, manifest.model_copy(update=update))
    return copy


def test_the_vectors_are_the_dual_encoders_and_the_scores_the_matchers(
    both: Path, front: Path, scoring: Path, regions: np.ndarray
) -> None:
    joined, vectors, scores = map(Matcher.load, (both, front, scoring))
    for found, expected in (
        (joined.encode_images(regions), vectors.encode_images(regions)),
        (joined.encode_texts(TEXTS), vectors.encode_texts(TEXTS)),
    ):
        np.testing.assert_allclose(found.embedding, expected.embedding, rtol=0, atol=1e-6)
    expected = scores.score(texts=TEXTS, images=regions)
    np.testing.assert_allclose(joined.score(texts=TEXTS, images=regions), expected, atol=1e-6)


@pytest.mark.parametrize("form", [resident, on_disk])
@pytest.mark.parametrize("width", [5, 7, 30])
def test_a_search_is_the_matcher_over_the_dual_encoders_shortlist(
    width: int,
    form: Callable[..., Retriever],
    both: Path,
    front: Path,
    scoring: Path,
    regions: np.ndarray,
    tmp_path: Path,
) -> None:
    products = Matcher.load(front).score(texts=TEXTS, images=regions).T
    scores = Matcher.load(scoring).score(texts=TEXTS, images=regions).T
    matcher = Matcher.load(both)
    gallery = Gallery.create(tmp_path / "gallery", matcher, storage="float32")
    gallery.add(names(COUNT), regions)
    found = form(matcher, gallery).search(TEXTS, k=5, candidates=width, prefilter=None)
    for product, score, hits in zip(products, scores, found, strict=True):
        shortlist = np.argsort(-product)[:width]
        best = shortlist[np.argsort(-score[shortlist])][:5]
        assert hits.ids == tuple(names(COUNT)[place] for place in best)
        np.testing.assert_allclose(hits.scores, score[best], atol=1e-5)


def test_an_image_query_is_shortlisted_by_the_dual_encoder_too(
    both: Path, front: Path, scoring: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    captions = [f"{one} {two}" for one in WORDS for two in OTHER_WORDS[:-1]]
    products = Matcher.load(front).score(texts=captions, images=regions[:3])
    scores = Matcher.load(scoring).score(texts=captions, images=regions[:3])
    matcher = Matcher.load(both)
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text", "float32")
    gallery.add(names(len(captions)), captions)
    found = Retriever(matcher, gallery).search(image=regions[:3], k=1, candidates=9, prefilter=None)
    for product, score, hits in zip(products, scores, found, strict=True):
        shortlist = np.argsort(-product, kind="stable")[:9]
        np.testing.assert_allclose(hits.scores, [score[shortlist].max()], atol=1e-5)


def test_the_prefilter_is_the_matchers(both: Path, scoring: Path, regions: np.ndarray) -> None:
    found = []
    for path in (both, scoring):
        matcher = Matcher.load(path)
        assert matcher.prefilter is not None
        items = matcher.encode_texts(TEXTS), matcher.encode_images(regions)
        found.append(matcher.prefilter.score_all(*items))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_a_text_has_the_matchers_numbers_and_further_ones_for_words_it_does_not_know(
    both: Path, scoring: Path
) -> None:
    joined, own = Matcher.load(both), Matcher.load(scoring)
    ids, lengths = joined.text.token_ids(TEXTS)
    expected, counts = own.text.token_ids(TEXTS)
    np.testing.assert_array_equal(lengths, counts)
    manifest = joined.bundle.manifest
    assert manifest.texts.vocab_size == own.bundle.manifest.texts.vocab_size + 2  # bird, <mask>
    assert ids.max() == own.bundle.manifest.texts.vocab_size
    np.testing.assert_array_equal(trained_ids(manifest, ids), expected)
    assert joined.text.unknown_words("a blue bird barks") == ["barks"]


def test_what_only_made_the_matchers_own_embedding_is_left_out(
    both: Path, front: Path, scoring: Path
) -> None:
    def nodes(path: Path) -> int:
        file = path / "graphs" / "image_encoder.onnx"
        return len(onnx.load(file, load_external_data=False).graph.node)

    assert nodes(both) < nodes(front) + nodes(scoring)
    graphs = read_bundle(both).manifest.graphs
    assert [entry.name for entry in graphs["image_encoder"].outputs] == [
        "image_vector",
        "image_embedding",
    ]


def test_the_manifest_and_inspect_tell_what_is_in_front(both: Path, front: Path) -> None:
    manifest, own = read_bundle(both).manifest, read_bundle(front).manifest
    assert manifest.family == "toy_words"
    assert manifest.front is not None
    assert manifest.front.encoding_id == own.encoding_id
    assert manifest.embedding_dim == own.embedding_dim == WIDTH
    shown = itr_deploy("inspect", both, "--json").json
    assert shown["front"]["family"] == "toy_dual"
    assert shown["parity"] == "passed"
    assert "toy_dual" in itr_deploy("inspect", both).out
    assert "front" not in (front / "manifest.json").read_text()


def test_a_gallery_of_the_matcher_is_another(both: Path, scoring: Path, tmp_path: Path) -> None:
    Gallery.create(tmp_path / "gallery", Matcher.load(scoring))
    with pytest.raises(GalleryError, match="made with another bundle"):
        Gallery.open(tmp_path / "gallery", Matcher.load(both))


def test_the_baseline_of_an_evaluation_is_the_matchers_checkpoint(
    toys: tuple[Path, ...], regions: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "test_ims.npy", regions[:10])
    (tmp_path / "test_caps.txt").write_text("a bird sits\n" * 50)
    given = {"data": tmp_path, "output": tmp_path / "out", "checkpoints": [toys[3]]}
    report = library.evaluate(toys[0], **given)
    assert report.baseline is not None
    assert report.baseline.largest_score_difference < 1e-5
    assert report.bundle.front == "toy_dual"
    assert "toy_words behind toy_dual" in (tmp_path / "out" / "report.html").read_text()
    verified = library.verify(
        Path(shutil.copytree(toys[0], tmp_path / "copy")),
        checkpoint=toys[3],
        data=tmp_path,
        images=10,
    )
    assert verified.passed
    assert "the dual encoder's" in verified.unchecked[0]


def test_the_dual_encoders_checkpoint_is_verified_with_its_own_bundle(
    both: Path, front: Path
) -> None:
    with pytest.raises(UsageError, match="verify that bundle"):
        library.verify(both, checkpoint=front.with_suffix(".pth"))


def test_a_projection_and_a_re_ranker_of_the_matcher_are_not_the_cascades(
    front: Path, scoring: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = tuned_copy(scoring, tmp_path / "tuned")
    manifest = read_bundle(tuned).manifest
    one_way = RerankDirection(rows=4, threshold=0.1)
    nowhere = Provenance(checkpoint="", checkpoint_sha256="", created="", versions={})
    reranker = Reranker(
        family="leaprr",
        text_to_image=one_way,
        image_to_text=one_way,
        **{"pillars": 4, "neighbours": 4, "heads": 1, "pi": "pooled_cosine"},
        base_encoding_id=manifest.encoding_id,
        provenance=nowhere,
    )
    write_manifest(tuned, manifest.model_copy(update={"reranker": reranker}))
    with caplog.at_level(logging.WARNING, "itr_deploy"):
        library.cascade(front, tuned, output=tmp_path / "both")
    made = read_bundle(tmp_path / "both").manifest
    assert "its re-ranker is left out" in caplog.text
    assert made.reranker is None
    assert not made.pipeline.projections
    assert made.pipeline.width("image") == 9
    assert not list((tmp_path / "both").glob("*.npy"))


def test_a_cascade_that_differs_from_its_bundles_is_not_left(
    front: Path, scoring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translate = exporter._translate
    monkeypatch.setattr(
        exporter, "_translate", lambda model, table: translate(model, [3] * len(table))
    )
    with pytest.raises(ParityError, match="coarse product"):
        library.cascade(front, scoring, output=tmp_path / "both")
    assert not list(tmp_path.iterdir())


def test_limits_of_both_bundles_hold(front: Path, scoring: Path, tmp_path: Path) -> None:
    own = changed(front, tmp_path / "front", "images", max_regions=5)
    given = changed(own, tmp_path / "shorter", "texts", max_tokens=6)
    library.cascade(given, scoring, output=tmp_path / "both")
    manifest = read_bundle(tmp_path / "both").manifest
    assert (manifest.images.max_regions, manifest.texts.max_tokens) == (5, 6)


def _other_texts(bundle: Path, copy: Path, **update: Any) -> Path:
    own = read_bundle(bundle).manifest.text_processing
    assert isinstance(own, NltkWords)
    return changed(bundle, copy, "text_processing", **update)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (partial(changed, part="images", feature_dim=13), "the width of a region is 13, but 12"),
        (partial(changed, part="images", regions=20), "of 20 regions, but .* of any number"),
        (partial(changed, part="images", boxes=True), "besides its regions is {'boxes': True}"),
        (partial(changed, part="images", views=3), "3 vectors of which the best counts"),
        (partial(changed, precision="float16"), "the precision is float16, but float32"),
        (partial(changed, part="texts", length=9), "the padded length of a text is 9, but None"),
        (partial(changed, part="texts", padded_together=9), "padded together is 9, but None"),
    ],
)
def test_a_dual_encoder_of_other_inputs_is_refused(
    change: Callable[..., Path], line: str, front: Path, scoring: Path, tmp_path: Path
) -> None:
    other = change(front, tmp_path / "front")
    with pytest.raises(BundleError, match=line):
        library.cascade(other, scoring, output=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_matcher_of_a_fixed_number_of_regions_needs_a_dual_encoder_that_takes_it(
    front: Path, scoring: Path, tmp_path: Path
) -> None:
    fixed = changed(scoring, tmp_path / "fixed", "images", regions=36)
    fewer = changed(front, tmp_path / "fewer", "images", max_regions=30)
    with pytest.raises(BundleError, match=r"of 30 regions at most, but .* of 36"):
        library.cascade(fewer, fixed, output=tmp_path / "both")
    library.cascade(front, fixed, output=tmp_path / "both")
    assert read_bundle(tmp_path / "both").manifest.images.regions == 36


def _random_vse_infty(output: Path) -> None:
    """A VSE-infinity of the golden IMRAM's inputs, from a checkpoint as its program saves it."""
    words = len(json.loads(FULL.vocab.read_bytes())["word2idx"]) + 1  # and <mask>
    width = FULL.regions.shape[2]
    torch.manual_seed(0)
    model = VseInfty(VseInftyConfig(width, 16, Words(vocab_size=words, word_dim=8)))
    opt = Namespace(img_dim=width, embed_size=16, word_dim=8, num_layers=1, vocab_size=words)
    parts = [model.image.state_dict(), model.text.state_dict()]
    checkpoint = output.with_suffix(".pth")
    torch.save({"model": parts, "opt": opt}, checkpoint)
    with one_torch_thread():
        library.export("vse_infty", checkpoint=checkpoint, vocab=FULL.vocab, output=output)


@pytest.mark.full
def test_imram_behind_vse_infinity_which_appends_a_word_to_the_same_vocabulary(
    bundle: Path, bundles: Bundles, tmp_path: Path
) -> None:
    front = bundles.once("vse_infty-random", _random_vse_infty, Path(__file__), FULL.vocab)
    made = library.cascade(front, bundle, output=tmp_path / "both")
    assert made.report.passed
    joined, vectors = Matcher.load(made.path), Matcher.load(front)
    np.testing.assert_allclose(
        joined.encode_texts(FULL.captions).embedding,
        vectors.encode_texts(FULL.captions).embedding,
        atol=1e-6,
    )
    given = (FULL.token_ids, FULL.lengths)  # IMRAM's own numbers
    scores = joined.score(texts=given, images=FULL.regions)
    np.testing.assert_allclose(scores, FULL.scores, rtol=0, atol=1e-4)


def test_bundles_in_the_wrong_roles_are_refused(
    both: Path, front: Path, scoring: Path, bundles: Bundles, tmp_path: Path
) -> None:
    views, dual = _toy(VIEWS, bundles)[0], _toy(DUAL, bundles)[0]
    for given, line in (
        ((scoring, scoring), "a matcher, no dual encoder"),
        ((front, dual), "a dual encoder, no matcher"),
        ((views, scoring), "3 vectors of which the best counts"),
        ((both, scoring), "a cascade, not a dual encoder"),
        ((front, both), "a cascade, not a matcher"),
    ):
        with pytest.raises(BundleError, match=line):
            library.cascade(*given, output=tmp_path / "both")
    for output in (front / "both", scoring / "more" / "both"):
        with pytest.raises(
            OutputError, match=r"\(--output\) is inside the bundle .*; give a place"
        ):
            library.cascade(front, scoring, output=output)
    with pytest.raises(BundleError, match="a cascade is no member of an ensemble"):
        library.ensemble([both, scoring], output=tmp_path / "both")
    assert not list(tmp_path.iterdir())


def test_the_command_makes_one_and_refuses_what_the_function_refuses(
    front: Path, scoring: Path, tmp_path: Path
) -> None:
    command = ("cascade", front, scoring, "--output", tmp_path / "both")
    outcome = itr_deploy(*command)
    assert outcome.code == 0, outcome.err
    assert f"bundle: {tmp_path / 'both'}" in outcome.out
    again = itr_deploy(*command)
    assert again.code == 1
    assert "exists" in again.error
    forced = itr_deploy(*command, "--force", "--json")
    assert forced.json["passed"] is True
    wrong = itr_deploy("cascade", scoring, front, "--output", tmp_path / "other")
    assert wrong.code == 1
    assert "give the dual encoder first" in wrong.error
