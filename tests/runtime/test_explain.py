from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher, Regions, Retriever
from itr_deploy.bundle.manifest import AttentionStep
from itr_deploy.errors import BundleError, EngineError, GalleryError, InputError, UsageError
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.explainer import Explainer
from itr_deploy.runtime.explanation import chosen, of_steps
from tests.conftest import without_graphs
from tests.support.golden import FULL, TEXT, Case
from tests.support.items import images, names

CAPTION = FULL.captions[0]
REGIONS = 5


def placed(count: int = 6) -> Regions:
    return Regions(images(count), *random_places(np.random.default_rng(1), count, REGIONS))


@pytest.fixture(scope="module")
def older(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a release exported it that explained nothing; do not change it."""
    return without_graphs(bundle, tmp_path_factory.mktemp("older") / "bundle", "explain")


def refusal(kind: type[Exception], call: Callable[..., Any], *given: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_word_is_told_what_it_attends_to(matcher: Matcher) -> None:
    found = matcher.explain("a zebra", images(1)[0])
    assert found.words == ("<start>", "a", "zebra", "<end>")
    assert found.regions == REGIONS
    assert found.attention.shape == (4, REGIONS)
    np.testing.assert_allclose(found.attention.sum(axis=1), 1, atol=1e-5)
    assert found.word_scores.shape == (4,)
    assert (np.abs(found.word_scores) <= 1 + 1e-5).all()
    assert found.exact
    assert found.placed is None
    np.testing.assert_allclose(
        found.score, matcher.score(texts=["a zebra"], images=images(1))[0, 0], atol=1e-5
    )


def test_every_step_of_both_branches_is_there_and_can_be_asked_for(matcher: Matcher) -> None:
    found = matcher.explain(CAPTION, images(1)[0])
    steps = [(one.attends, one.step) for one in found.steps]
    assert steps == [(side, step) for side in ("text", "image") for step in (1, 2, 3)]
    assert (found.shown.attends, found.step) == ("text", 3)
    for one in found.steps:
        own = matcher.explain(CAPTION, images(1)[0], step=one.step, attends=one.attends)
        np.testing.assert_array_equal(own.attention, one.weights)
        np.testing.assert_array_equal(own.word_scores, one.word_scores)
        axis = 1 if one.attends == "text" else 0
        np.testing.assert_allclose(one.weights.sum(axis=axis), 1, atol=1e-5)


def test_step_scores_are_means_of_the_words(matcher: Matcher) -> None:
    """IMRAM's score is what its words and regions find, over all steps of both branches."""
    found = matcher.explain(CAPTION, images(1)[0])
    total = 0.0
    for one in found.steps:
        shares = one.weights.sum(axis=1) if one.attends == "image" else np.ones(len(found.words))
        total += float((one.word_scores * shares).sum() / shares.sum())
    assert found.score == pytest.approx(total, abs=1e-4)


def test_the_strongest_regions_come_first(matcher: Matcher) -> None:
    found = matcher.explain(CAPTION, images(1)[0])
    order = found.strongest(1, 3)
    assert found.attention[1, order].tolist() == sorted(found.attention[1])[::-1][:3]
    for word in (len(found.words), "dog", 1.0, None):
        said = refusal(UsageError, found.strongest, word)
        assert f"must be a place in words, 0 to {len(found.words) - 1}" in said


def test_one_image_is_taken_in_every_form(matcher: Matcher) -> None:
    given = placed(1)
    expected = matcher.explain(CAPTION, images(1)[0])
    for form in (images(1), given, Regions(images(1)[0], given.boxes[0], given.picture_sizes[0]),
                 matcher.encode_images(images(1))):  # fmt: skip
        found = matcher.explain(CAPTION, form)
        np.testing.assert_allclose(found.attention, expected.attention, atol=1e-6)
        assert (found.placed is None) == (not isinstance(form, Regions))
    own = matcher.explain(CAPTION, given).placed
    assert own is not None
    np.testing.assert_array_equal(own.boxes, np.asarray(given.boxes)[0])


def test_what_cannot_be_explained_is_refused_in_a_line(matcher: Matcher) -> None:
    one = images(1)[0]
    assert "has 2 images; give one" in refusal(InputError, matcher.explain, "a", images(2))
    missing = refusal(InputError, matcher.explain, "a", one, step=4)
    assert missing.startswith("step=4, attends=None: ")  # no command has options for them
    assert "is empty" in refusal(InputError, matcher.explain, " ", one)
    for options in ({"step": 0}, {"attends": "words"}):
        refusal(UsageError, matcher.explain, "a", one, **options)


def test_a_model_of_one_branch_has_the_other_side_of_no_step(load_matcher: Any) -> None:
    only: Case = TEXT
    matcher = load_matcher(only)
    found = matcher.explain("a dog", only.regions[0])
    assert [(one.attends, one.step) for one in found.steps] == [("text", 1), ("text", 2)]
    said = refusal(InputError, matcher.explain, "a dog", only.regions[0], attends="image")
    assert "step=2, attends='text'" in said


def test_bundles_that_cannot_explain_say_why(older: Path, tmp_path: Path) -> None:
    matcher = Matcher.load(older)
    assert "export it again" in refusal(BundleError, matcher.explain, "a", images(1)[0])
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(2), images(2))
    retriever = Retriever(matcher, gallery)
    assert retriever.search(CAPTION, k=1)
    refusal(BundleError, retriever.explain, CAPTION, "item0000")


@pytest.mark.parametrize(("storage", "close"), [("float32", 1e-5), ("float16", 2e-2), ("int8", 1)])
def test_a_gallerys_image_is_explained_from_what_is_stored(
    storage: str, close: float, matcher: Matcher, tmp_path: Path
) -> None:
    given = placed()
    gallery = Gallery.create(tmp_path / "gallery", matcher, storage=storage)  # type: ignore[arg-type]
    gallery.add(names(6), given)
    retriever = Retriever(matcher, gallery)
    hits = retriever.search(CAPTION, k=6, candidates=None)
    for hit in hits:
        place = int(hit.id.removeprefix("item"))
        found = retriever.explain(CAPTION, hit.id)
        expected = matcher.explain(CAPTION, given[place : place + 1])
        np.testing.assert_allclose(found.attention, expected.attention, atol=close)
        assert found.exact == (storage == "float32")
        assert found.score == pytest.approx(hit.score, abs=1e-5)
        assert found.placed is not None
        np.testing.assert_array_equal(found.placed.boxes, np.asarray(given.boxes)[place])


def test_images_of_any_number_of_regions_are_explained(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, ragged=True)
    gallery.add(["it's", "b"], [images(1)[0, :3], images(1)[0]])
    retriever = Retriever(matcher, gallery)
    assert [retriever.explain(CAPTION, name).regions for name in ("it's", "b")] == [3, REGIONS]
    assert retriever.explain(CAPTION, "b").placed is None


def test_a_retriever_refuses_what_it_has_not(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(2), images(2))
    assert "no item 'c'" in refusal(GalleryError, Retriever(matcher, gallery).explain, "a", "c")
    texts = Gallery.create(tmp_path / "texts", matcher, "text")
    texts.add(["a"], [CAPTION])
    assert "not their words" in refusal(GalleryError, Retriever(matcher, texts).explain, "a", "a")


class WithoutEngine:
    """A backend whose engines are those that build-engine makes by default."""

    def run(self, graph: str, inputs: Any) -> Any:
        raise EngineError(f"has no engine of {graph}")


def test_without_an_engine_the_cpu_explains(matcher: Matcher) -> None:
    text, image = matcher.encode_texts([CAPTION]), matcher.encode_images(images(1))
    expected, _ = matcher.explainer.explain(text, image, None, None)
    found, _ = Explainer(matcher.bundle, WithoutEngine()).explain(  # type: ignore[arg-type]
        text, image, None, None
    )
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-6)


def test_a_step_whose_gates_are_closed_is_not_shown() -> None:
    record = [AttentionStep(step=step, attends="image") for step in (1, 2, 3)]
    weights = np.zeros((3, 2, 4), np.float32)
    weights[1] = 0.25
    steps = of_steps(record, weights, np.ones((3, 2), np.float32))
    assert chosen(steps, None, None, "it").step == 2
    assert chosen(steps, 2, "image", "it").step == 2
    for step in (1, 3):
        assert "closes its gates" in refusal(InputError, chosen, steps, step, None, "it")


def test_explanation_is_public() -> None:
    assert itr_deploy.Explanation is itr_deploy.runtime.Explanation  # type: ignore[attr-defined]
