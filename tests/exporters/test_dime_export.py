"""DIME through the public commands: scores, gates, galleries, ensembles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.store import read_bundle
from itr_deploy.models.dime.plain import Dime
from tests.models.test_dime_prefilter import EVERY, published_cheap_part
from tests.models.test_dime_routes import inputs, trained
from tests.support.command import itr_deploy
from tests.support.dime import DIRECTIONS, GATES, I2T, T2I, DimeCase
from tests.support.exports import Bundles, export

pytestmark = pytest.mark.slow

T2I_ALWAYS = pytest.param(T2I, id="t2i")
I2T_IN_FULL = pytest.param(I2T, id="i2t", marks=pytest.mark.full)


class Exports:
    """Bundles of both directions, with their gates, made when they are first asked for."""

    def __init__(self, bundles: Bundles) -> None:
        self._bundles = bundles
        self._matchers: dict[str, Matcher] = {}

    def path(self, case: DimeCase) -> Path:
        return self._bundles.path(case, *GATES)

    def matcher(self, case: DimeCase) -> Matcher:
        if case.direction not in self._matchers:
            self._matchers[case.direction] = Matcher.load(self.path(case))
        return self._matchers[case.direction]


@pytest.fixture(scope="module")
def exports(bundles: Bundles) -> Exports:
    return Exports(bundles)


BOTH = pytest.mark.parametrize("case", [T2I_ALWAYS, I2T_IN_FULL])


@BOTH
def test_token_ids_and_captions_score_as_published(case: DimeCase, exports: Exports) -> None:
    matcher = exports.matcher(case)
    scores = matcher.score(texts=case.texts, images=case.images)
    np.testing.assert_allclose(scores, case.expected["scores"], atol=1e-4)
    by_text = matcher.score(texts=case.captions, images=case.images)
    np.testing.assert_allclose(by_text, case.expected["scores"], atol=1e-4)


@BOTH
def test_the_graphs_tell_the_published_gates(case: DimeCase, exports: Exports) -> None:
    matcher = exports.matcher(case)
    texts, images = matcher.encode_token_ids(*case.texts), matcher.encode_images(case.images)
    for layer in range(3):
        name = f"paths_layer{layer}"
        _, by_text = matcher.scorer.score_with(texts, images, name)
        _, by_image = matcher.scorer.score_with(images, texts, name)
        expected = case.expected[name]
        if layer == 0:
            expected = expected[:, None] if case is I2T else expected[None]
            expected = np.broadcast_to(expected, (len(images), len(texts), 4, 4))
        np.testing.assert_allclose(by_image, expected, atol=1e-4)
        np.testing.assert_allclose(by_text, expected.swapaxes(0, 1), atol=1e-4)


@BOTH
@pytest.mark.parametrize(
    ("storage", "tolerance"), [("float32", 1e-4), ("float16", 1e-2), ("int8", 1e-1)]
)
def test_the_prefilter_scores_as_the_published_cells_that_it_keeps(
    case: DimeCase, storage: StorageType, tolerance: float, exports: Exports
) -> None:
    plain = trained(case.direction).plain
    assert isinstance(plain, Dime)
    with torch.inference_mode():
        expected = published_cheap_part(plain, EVERY).score(*inputs(case.direction)).numpy()
    matcher = exports.matcher(case)
    assert matcher.prefilter is not None
    texts, images = matcher.encode_token_ids(*case.texts), matcher.encode_images(case.images)
    by_text = matcher.prefilter.score_all(texts, images.stored_as(storage))
    by_image = matcher.prefilter.score_all(images, texts.stored_as(storage))
    np.testing.assert_allclose(by_text.T, expected, atol=tolerance)
    np.testing.assert_allclose(by_image, expected, atol=tolerance)


@BOTH
def test_no_call_scores_more_pairs_than_the_cpu_is_quick_with(
    case: DimeCase, exports: Exports
) -> None:
    matcher = exports.matcher(case)
    most = matcher.bundle.manifest.workspace.cpu_pairs
    twice = [np.concatenate([values, values]) for values in case.texts]
    texts, images = matcher.encode_token_ids(*twice), matcher.encode_images(case.images)
    sizes: list[int] = []
    scores = matcher.scorer.score_all(
        texts, images, observe=lambda tile: sizes.append(tile["scores"].size)
    )
    assert most is not None
    assert max(sizes) <= most
    assert sum(sizes) == scores.size > most
    expected = np.tile(case.expected["scores"], 2)
    np.testing.assert_allclose(scores.T, expected, atol=1e-5)


@BOTH
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_pair_scores_the_same_in_any_company(
    case: DimeCase, exports: Exports, data: st.DataObject
) -> None:
    expected = case.expected["scores"]
    places = [st.lists(st.integers(0, n - 1), min_size=1, max_size=6) for n in expected.shape]
    rows, columns = (data.draw(place) for place in places)
    ids, lengths = case.texts[0][columns], case.texts[1][columns]
    width = data.draw(st.integers(int(lengths.max()), ids.shape[1]))
    scores = exports.matcher(case).score(texts=(ids[:, :width], lengths), images=case.images[rows])
    np.testing.assert_allclose(scores, expected[np.ix_(rows, columns)], atol=1e-5)


@BOTH
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 5e-6), ("float16", 1e-3)])
@pytest.mark.parametrize("budget", [1, 1 << 30], ids=["on disk", "in memory"])
def test_galleries_of_both_modalities_rank_as_the_matcher(
    case: DimeCase, exports: Exports, storage: str, tolerance: float, budget: int, tmp_path: Path
) -> None:
    matcher = exports.matcher(case)
    scores = matcher.score(texts=case.captions, images=case.images)
    images = Gallery.create(tmp_path / "images", matcher, "image", storage)  # type: ignore[arg-type]
    images.add([str(n) for n in range(len(case.images))], case.images)
    found = Retriever(matcher, images, memory_budget=budget).search(case.captions[1], k=3)
    np.testing.assert_allclose(
        found.scores, scores[[int(name) for name in found.ids], 1], atol=tolerance
    )
    assert found.scores[0] == pytest.approx(scores[:, 1].max(), abs=tolerance)
    texts = Gallery.create(tmp_path / "texts", matcher, "text", storage)  # type: ignore[arg-type]
    texts.add([str(n) for n in range(len(case.captions))], case.captions)
    found = Retriever(matcher, texts, memory_budget=budget).search(image=case.images[2], k=3)
    np.testing.assert_allclose(
        found.scores, scores[2, [int(name) for name in found.ids]], atol=tolerance
    )
    assert found.scores[0] == pytest.approx(scores[2].max(), abs=tolerance)


@BOTH
def test_what_is_stored_and_how_texts_are_read_is_in_the_manifest(
    case: DimeCase, exports: Exports
) -> None:
    manifest = read_bundle(exports.path(case)).manifest
    assert manifest.texts.length == manifest.texts.max_tokens == 12
    assert manifest.text_processing.model_dump() == {
        "kind": "wordpiece",
        "vocabulary": "vocab.txt",
        "lower_case": True,
    }
    refined = {"local", "guided", "reasoned", "routing", "gates"}
    guiding = {"local", "vector", "sign", *(f"{n}_{k}" for n in ("scale", "shift") for k in "012")}
    stored = [{spec.name for spec in side.tensors} for side in (manifest.images, manifest.texts)]
    assert stored == ([refined, guiding] if case is I2T else [guiding, refined])


@BOTH
def test_a_bundle_is_verified_with_its_checkpoint_alone(case: DimeCase, exports: Exports) -> None:
    outcome = itr_deploy("verify", exports.path(case), "--checkpoint", case.checkpoint, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["passed"]


@pytest.mark.full
def test_both_directions_make_an_ensemble_that_searches(exports: Exports, tmp_path: Path) -> None:
    bundle = tmp_path / "both"
    made = itr_deploy("ensemble", exports.path(I2T), exports.path(T2I), "--output", bundle)
    assert made.code == 0, made.err
    both = Matcher.load(bundle)
    matchers = [exports.matcher(case) for case in DIRECTIONS]
    scores = both.score(texts=I2T.captions, images=I2T.images)
    members = [matcher.score(texts=I2T.captions, images=I2T.images) for matcher in matchers]
    np.testing.assert_allclose(scores, np.mean(members, axis=0), atol=1e-5)
    members = [prefiltered(matcher) for matcher in matchers]
    np.testing.assert_allclose(prefiltered(both), np.mean(members, axis=0), atol=1e-5)
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", I2T.images)
    (data / "test_caps.txt").write_text("\n".join(I2T.captions[: len(I2T.images)]) + "\n")
    gallery = tmp_path / "gallery"
    indexed = itr_deploy("index", bundle, "--data", data, "--output", gallery)
    assert indexed.code == 0, indexed.err
    found = itr_deploy("search", bundle, I2T.captions[0], "--gallery", gallery, "-k", 1, "--json")
    assert found.code == 0, found.err


def prefiltered(matcher: Matcher) -> np.ndarray:
    assert matcher.prefilter is not None
    texts, images = matcher.encode_texts(I2T.captions), matcher.encode_images(I2T.images)
    return matcher.prefilter.score_all(texts, images)


class TestRefusals:
    def test_a_vocabulary_of_another_size(self, tmp_path: Path) -> None:
        vocab = tmp_path / "vocab.txt"
        vocab.write_text(I2T.vocab.read_text() + "\nextra\n")
        outcome = export(I2T, tmp_path / "bundle", "--vocab", vocab)
        assert outcome.code == 1
        assert "trained with 60" in outcome.error

    def test_a_json_vocabulary(self, tmp_path: Path) -> None:
        vocab = tmp_path / "vocab.json"
        vocab.write_text('{"word2idx": {"a": 1}}')
        outcome = export(I2T, tmp_path / "bundle", "--vocab", vocab)
        assert outcome.code == 1
        assert "expected BERT's vocab.txt" in outcome.error

    def test_no_vocabulary_and_no_config(self, tmp_path: Path) -> None:
        for option in ("--vocab", "--bert-config"):
            outcome = export(I2T, tmp_path / "bundle", option, tmp_path / "nothing")
            assert outcome.code == 1
            assert str(tmp_path / "nothing") in outcome.error

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("{", "not JSON"),
            ("[]", "num_attention_heads"),
            ('{"num_attention_heads": "4"}', "expected int"),
            ('{"num_attention_heads": 5}', "divide"),
            ('{"num_attention_heads": 12}', "--bert-config"),
        ],
    )
    def test_a_config_that_is_not_of_this_bert(
        self, config: str, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "config.json"
        path.write_text(config)
        outcome = export(I2T, tmp_path / "bundle", "--bert-config", path)
        assert outcome.code == 1
        assert message in outcome.error
        assert not (tmp_path / "bundle").exists()
