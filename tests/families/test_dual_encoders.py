"""What is different where scores are products of the embeddings, from an export to a service."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import itr_deploy
from itr_deploy import Gallery, Hits, Matcher, Retriever
from itr_deploy.errors import BundleError, GalleryError, UsageError
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.models.family import Family
from itr_deploy.runtime.gallery import codes
from itr_deploy.runtime.gallery.codes import Codes
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.search.memory import Size
from tests.families.cases import _toy
from tests.families.toys import DUAL, IMAGE_DIM, VECTORS, VIEWS, WIDTH, WORDS, registered
from tests.support.exports import Bundles
from tests.support.items import names
from tests.support.leaprr import SMALL
from tests.support.retrieval import assert_same, on_disk, resident

COUNT = 200
TEXTS = ["a red dog", "the cat sits", "blue house on grass"]


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def regions() -> np.ndarray:
    shape = (COUNT, 4, IMAGE_DIM)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def dual(bundles: Bundles) -> Path:
    return _toy(DUAL, bundles)[0]


@pytest.fixture(scope="module")
def views(bundles: Bundles) -> Path:
    return _toy(VIEWS, bundles)[0]


@pytest.fixture
def gallery(dual: Path, regions: np.ndarray, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", Matcher.load(dual))
    made.add(names(COUNT), regions, {"place": list(range(COUNT))})
    return made


def test_a_bundle_has_encoders_alone_and_says_so(dual: Path) -> None:
    found = itr_deploy.inspect(dual)
    assert found["scores"] == "product of the embeddings"
    assert [graph["name"] for graph in found["graphs"]] == ["image_encoder", "text_encoder"]
    assert found["stored"] == []
    assert found["pipeline"]["candidates"] is None


def test_a_gallery_stores_the_vectors_alone(gallery: Gallery) -> None:
    assert gallery.table.schema.names == ["id", "place", "embedding"]
    assert stored_bytes(gallery) == COUNT * WIDTH * 4


@pytest.mark.parametrize("where", [None, "place >= 30"])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_search_is_the_product_in_memory_on_disk_and_with_an_index(
    indexed: bool, where: str | None, gallery: Gallery, regions: np.ndarray
) -> None:
    matcher = Matcher.load(gallery.matcher.bundle.path)  # type: ignore[union-attr]
    if indexed:
        gallery.build_coarse_index()
    images, texts = matcher.encode_images(regions), matcher.encode_texts(TEXTS)
    products = texts.embedding @ images.embedding.T
    if where is not None:
        products[:, :30] = -np.inf
    memory = resident(matcher, gallery).search(TEXTS, 5, where)
    assert_same(on_disk(matcher, gallery, 10**9).search(TEXTS, 5, where), memory, tolerance=1e-6)
    apart = on_disk(matcher, gallery, 1).search(TEXTS, 5, where)
    if indexed:
        assert_most_are_found(apart, memory, products)
    else:
        assert_same(apart, memory, tolerance=1e-6)
    for row, hits in zip(products, memory, strict=True):
        assert hits.ids == tuple(names(COUNT)[place] for place in np.argsort(-row)[:5])
        np.testing.assert_allclose(hits.scores, np.sort(row)[::-1][:5], atol=1e-6)
        assert [hit.metadata["place"] for hit in hits] == np.argsort(-row)[:5].tolist()


def assert_most_are_found(
    found: list[Hits], expected: list[Hits], products: NDArray[np.float32]
) -> None:
    """An index looks at three of four partitions, whose centres are drawn: it may miss an item.

    The scores of what it finds are exact.
    """
    shared = 0
    for own, best, row in zip(found, expected, products, strict=True):
        places = [hit.metadata["place"] for hit in own]
        np.testing.assert_allclose(own.scores, row[places], atol=1e-6)
        assert len(own) == len(best)
        assert (np.diff(own.scores) <= 0).all()
        shared += len({*own.ids} & {*best.ids})
    assert shared >= 0.7 * sum(map(len, expected))


def test_more_hits_than_items_are_all_items(gallery: Gallery) -> None:
    matcher = gallery.matcher
    assert matcher is not None
    for retriever in (resident(matcher, gallery), on_disk(matcher, gallery, 1)):
        assert len(retriever.search(TEXTS[0], 2 * COUNT)) == COUNT
        assert len(retriever.search(TEXTS[0], 5, "place < 2")) == 2
        assert len(retriever.search(TEXTS[0], 5, "place < 0")) == 0


def test_candidates_mean_nothing_and_a_warning_says_so(
    gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = Retriever(gallery.matcher, gallery)  # type: ignore[arg-type]
    expected = retriever.search(TEXTS[0], 5)
    with caplog.at_level(logging.WARNING, "itr_deploy"):
        assert retriever.search(TEXTS[0], 5, candidates=7) == expected
    assert "candidates=7 means nothing here: this bundle is a dual encoder" in caplog.text
    with pytest.raises(BundleError, match="is a dual encoder, whose search scores every item"):
        retriever.search(TEXTS[0], 5, prefilter=7)


def test_a_storage_type_means_nothing_either(dual: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"vectors alone, in float32.*leave storage="):
        Gallery.create(tmp_path / "gallery", Matcher.load(dual), "image", "float16")
    assert not (tmp_path / "gallery").exists()


def test_an_ensemble_scores_the_mean_of_its_members(
    dual: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    made = itr_deploy.ensemble([dual, dual], output=tmp_path / "both", weights=[3, 1])
    assert made.report.passed
    both, one = Matcher.load(made.path), Matcher.load(dual)
    assert both.bundle.manifest.is_dual_encoder
    expected = one.score(texts=TEXTS, images=regions)
    np.testing.assert_allclose(both.score(texts=TEXTS, images=regions), expected, atol=1e-6)


def test_a_matcher_and_a_dual_encoder_are_no_ensemble(
    dual: Path, bundles: Bundles, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="what scores pairs is a matcher, but a product in"):
        itr_deploy.ensemble([dual, _toy(VECTORS, bundles)[0]], output=tmp_path / "both")


def test_products_that_are_scores_are_not_found_by_codes(
    dual: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "FROM", COUNT // 2)
    monkeypatch.setattr(Codes, "encode_beside", lambda *given: pytest.fail("codes are made"))
    for form in (resident, on_disk):
        assert form(Matcher.load(dual), gallery).search(TEXTS, k=3)
    assert Size.of(gallery, 1 << 24).bytes == stored_bytes(gallery)


def test_several_views_are_no_ensemble_and_have_no_coarse_index(
    views: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="3 vectors of which the best counts"):
        itr_deploy.ensemble([views, views], output=tmp_path / "both")
    gallery = Gallery.create(tmp_path / "gallery", Matcher.load(views))
    gallery.add(names(COUNT), regions)
    with pytest.raises(GalleryError, match="have 3 vectors each"):
        gallery.build_coarse_index()
    assert stored_bytes(gallery) == COUNT * 3 * WIDTH * 4


def test_an_evaluation_with_a_shortlist_is_refused(
    dual: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "test_ims.npy", regions[:10])
    (tmp_path / "test_caps.txt").write_text("a red dog\n" * 50)
    evaluate = partial(itr_deploy.evaluate, dual, data=tmp_path, output=tmp_path / "out")
    with pytest.raises(UsageError, match="means nothing for a dual encoder"):
        evaluate(candidates=5)
    report = evaluate()
    assert [stage.name for stage in report.stages] == ["product, every item"]
    assert not any(shortlists for _, shortlists in report.all_shortlists())


@pytest.mark.parametrize("family", [DUAL, VIEWS], ids=["one vector", "views"])
def test_figures_over_folds_are_those_of_the_scores_of_each_fold(
    family: Family, bundles: Bundles, regions: np.ndarray, tmp_path: Path
) -> None:
    bundle, images, per = _toy(family, bundles)[0], 25, 5
    rng = np.random.default_rng(1)
    captions = [" ".join(rng.choice(WORDS, 6)) for _ in range(images * per)]
    np.save(tmp_path / "testall_ims.npy", regions[:images])
    (tmp_path / "testall_caps.txt").write_text("\n".join(captions) + "\n")
    report = itr_deploy.evaluate(
        bundle, data=tmp_path, split="testall", folds=5, output=tmp_path / "out"
    )
    scores = Matcher.load(bundle).score(texts=captions, images=regions[:images])
    found = [first_places(scores[n : n + 5, 5 * n : 5 * n + 25], per) for n in range(0, 25, 5)]
    assert report.folds is not None
    mean = report.folds.mean
    measured = mean.image_to_text.r1, mean.text_to_image.r1
    np.testing.assert_allclose(measured, np.mean(found, axis=0), atol=1e-9)
    whole = report.recall.image_to_text.r1, report.recall.text_to_image.r1
    np.testing.assert_allclose(whole, first_places(scores, per), atol=1e-9)


def first_places(scores: np.ndarray, per: int) -> tuple[float, float]:
    """R@1 both ways; a tie counts against the right answer."""
    image_of = np.arange(scores.shape[1]) // per
    own = image_of == np.arange(len(scores))[:, None]
    by_image = np.where(own, scores, -9).max(1) > np.where(own, -9, scores).max(1)
    by_caption = np.where(own, scores, -9).max(0) > np.where(own, -9, scores).max(0)
    return 100 * by_image.mean(), 100 * by_caption.mean()


def test_models_of_several_views_are_averaged_by_their_saved_scores(
    views: Path, dual: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "test_ims.npy", regions[:10])
    captions = [
        f"a {color} {animal} {n % 5}"
        for n in range(10)
        for color in WORDS[3:5]
        for animal in WORDS[1:3]
    ]
    (tmp_path / "test_caps.txt").write_text("\n".join(captions) + "\n")
    evaluate = partial(itr_deploy.evaluate, data=tmp_path)
    evaluate(views, output=tmp_path / "one", save_scores=True)
    with pytest.raises(UsageError, match=r"one' twice, and every model counts once"):
        evaluate(dual, output=tmp_path / "both", mean_with=[tmp_path / "one", f"{tmp_path}/./one"])
    report = evaluate(dual, output=tmp_path / "both", mean_with=[tmp_path / "one"])
    scores = [
        Matcher.load(bundle).score(texts=captions, images=regions[:10]) for bundle in (views, dual)
    ]
    expected = recall(ranks((scores[0] + scores[1]) / 2, 4))
    assert report.recall.rsum == pytest.approx(expected.rsum)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("several", [False, True])
def test_changes_beside_the_searches_are_found_as_in_a_gallery_opened_anew(
    several: bool, resident: bool, views: Path, dual: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    matcher = Matcher.load(views if several else dual)
    writer = Gallery.create(tmp_path / "live", matcher)
    writer.add(names(COUNT), regions, {"place": list(range(COUNT))})
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=resident)
    retriever.warm_up()
    changes = [
        lambda: writer.delete(names(COUNT)[:2]),
        lambda: writer.add(["late"], regions[:1], {"place": [7]}),
        lambda: writer.update(["item0003"], regions[4:5]),
    ]
    for change in changes:
        change()
        assert retriever.refresh()
        fresh = Retriever(matcher, Gallery.open(writer.path, matcher), resident=resident)
        for options in ({"k": 3}, {"k": COUNT}, {"k": 4, "where": "place > 2"}):
            found, expected = (r.search("a red dog", **options) for r in (retriever, fresh))
            assert found.ids == expected.ids
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
            assert found.metadata == expected.metadata


@pytest.mark.slow
def test_a_reranker_reorders_a_dual_encoders_hits(
    dual: Path, regions: np.ndarray, tmp_path: Path
) -> None:
    made = itr_deploy.export_reranker(
        "leaprr",
        base=dual,
        checkpoint=SMALL.checkpoint,
        output=tmp_path / "reranked",
        heads=SMALL.heads,
        rows_text_to_image=SMALL.rows("text"),
        rows_image_to_text=SMALL.rows("image"),
    )
    matcher = Matcher.load(made.path)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(COUNT), regions)
    bank = Gallery.create(tmp_path / "bank", matcher, "text")
    words = ("a", "dog", "cat", "red", "blue", "runs", "sits", "on", "grass", "house")
    captions = [f"{one} {two}" for one in words for two in words]
    bank.add(names(len(captions)), captions)
    retriever = Retriever.load(made.path, gallery, bank=bank)
    plain, reranked = retriever.search(TEXTS[0], 40), retriever.search(TEXTS[0], 40, rerank=True)
    assert set(reranked.ids) == set(plain.ids)
    assert reranked.matcher_ranks is not None
    assert reranked.ids != plain.ids


@pytest.mark.parametrize("widths", [{"candidates": [None, 20]}, {"prefilter": 30}])
def test_a_benchmark_of_shortlists_is_refused_before_any_work(
    widths: dict[str, Any], dual: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    with pytest.raises(UsageError, match=r"=.0 \(--.*\) means nothing for a dual encoder"):
        itr_deploy.bench(
            dual, synthetic=300, output=tmp_path / "bench", progress=steps.append, **widths
        )
    assert not steps
    assert not list(tmp_path.iterdir())


def test_a_benchmark_measures_one_product(dual: Path, tmp_path: Path) -> None:
    report = itr_deploy.bench(dual, synthetic=300, output=tmp_path / "bench", rounds=2)
    assert report.searches
