from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.store import PARITY
from itr_deploy.models.lhsc.checkpoint import load
from itr_deploy.models.lhsc.options import LhscOptions
from itr_deploy.parity.gate import verify
from itr_deploy.parity.samples import Sample
from itr_deploy.runtime.encoding.sources import TextSource
from tests.support.exports import Bundles
from tests.support.lhsc import CHECKPOINT, LHSC, PADDINGS, arrays

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize(
    ("padding", "suffix"),
    [
        ("true-length", ""),
        pytest.param("published", "_padded_batch", marks=pytest.mark.full),
    ],
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def exported(bundles: Bundles) -> Callable[[str], Path]:
    """The bundle of the golden case with a text padding."""
    return lambda padding: bundles.path(LHSC, "--text-padding", padding)


def random_texts(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(4, 40, size=(len(lengths), lengths.max()))
    return ids * (np.arange(ids.shape[1]) < lengths[:, None]), lengths


@BOTH
def test_the_bundle_scores_as_published(
    padding: str, suffix: str, exported: Callable[[str], Path]
) -> None:
    matcher = Matcher.load(exported(padding))
    given = arrays("inputs")
    scores = matcher.score(texts=(given["captions"], given["lengths"]), images=given["images"])
    np.testing.assert_allclose(scores, arrays("expected")[f"scores{suffix}"], atol=1e-4)


def test_captions_are_read_with_the_bundled_vocabulary(
    exported: Callable[[str], Path],
) -> None:
    matcher = Matcher.load(exported("true-length"))
    given = arrays("inputs")
    scores = matcher.score(texts=LHSC.captions, images=given["images"])
    np.testing.assert_allclose(scores, arrays("expected")["scores"], atol=1e-4)


@pytest.mark.full
def test_the_manifest_says_what_is_stored_and_padded_together(
    exported: Callable[[str], Path],
) -> None:
    manifests = {padding: Matcher.load(exported(padding)).bundle.manifest for padding in PADDINGS}
    assert {name: m.texts.padded_together for name, m in manifests.items()} == {
        "true-length": None,
        "published": 100,
    }
    assert len({manifest.encoding_id for manifest in manifests.values()}) == 2
    for manifest in manifests.values():
        assert manifest.images.regions == 36
        stored = [(spec.name, spec.per_position) for spec in manifest.images.tensors]
        assert stored == [("regions", True), ("vector", False)]


@pytest.mark.full
def test_the_report_says_that_published_padding_is_not_checked_for_independence(
    exported: Callable[[str], Path],
) -> None:
    own, published = (json.loads((exported(padding) / PARITY).read_bytes()) for padding in PADDINGS)
    assert own["invariance"]
    assert not own["unchecked"]
    assert not published["invariance"]
    assert "100 consecutive texts" in published["unchecked"][0]


@pytest.fixture(scope="module")
def many_texts() -> tuple[np.ndarray, np.ndarray]:
    """Texts of three batches of 100, whose longest differ."""
    lengths = np.random.default_rng(1).integers(1, 9, size=230)
    lengths[[30, 170]] = 12, 20
    return random_texts(lengths)


@pytest.mark.full
def test_published_padding_is_that_of_the_whole_list_however_it_is_cut(
    exported: Callable[[str], Path], many_texts: tuple[np.ndarray, np.ndarray]
) -> None:
    matcher = Matcher.load(exported("published"))
    ids, lengths = many_texts
    plain = load(CHECKPOINT, LhscOptions(text_padding="published")).plain
    with torch.inference_mode():
        expected = plain.encode_texts(torch.from_numpy(ids), torch.from_numpy(lengths)).numpy()
    source = TextSource(matcher, (ids, lengths))
    for part in (slice(0, 230), slice(0, 64), slice(64, 128), slice(150, 151), slice(199, 230)):
        encoded = source.encode(part)
        for block in encoded.blocks:
            for tensor, row in zip(block.tensors["words"], block.rows, strict=True):
                place = part.start + row
                np.testing.assert_allclose(
                    tensor[: lengths[place]], expected[place, : lengths[place]], atol=1e-5
                )


@pytest.mark.full
def test_parity_pads_more_than_one_batch_of_texts_as_published(
    exported: Callable[[str], Path], many_texts: tuple[np.ndarray, np.ndarray]
) -> None:
    trained = load(CHECKPOINT, LhscOptions(text_padding="published"))
    sample = Sample({"regions": arrays("inputs")["images"]}, *many_texts)
    report = verify(trained, Matcher.load(exported("published")), sample=sample)
    assert report.passed
    assert {entry.queries for entry in report.ranks} == {6, 230}
    float32 = [entry for entry in report.ranks if "float32" in entry.name]
    assert max(entry.largest_swap for entry in float32) <= 1e-6


@pytest.mark.full
def test_a_gallery_of_texts_keeps_the_published_padding(
    exported: Callable[[str], Path],
    many_texts: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
) -> None:
    matcher = Matcher.load(exported("published"))
    lengths = many_texts[1]
    images = arrays("inputs")["images"]
    gallery = Gallery.create(tmp_path / "gallery", matcher, modality="text", storage="float32")
    gallery.add([str(place) for place in range(len(lengths))], many_texts)
    hits = Retriever(matcher, gallery).search(image=images[0], k=len(lengths), candidates=None)
    scores = matcher.score(texts=many_texts, images=images[:1])[0]
    np.testing.assert_allclose(hits.scores, scores[[int(name) for name in hits.ids]], atol=5e-6)
