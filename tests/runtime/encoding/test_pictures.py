"""Pictures are encoded as they are decoded, whatever their sizes and however they are given."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itr_deploy import Gallery, Matcher, Regions, Retriever
from itr_deploy.errors import InputError, UsageError
from itr_deploy.runtime.encoding import pictures
from itr_deploy.runtime.encoding.pictures import TOGETHER, CheckedPictures, Limits
from tests.support.duals import GRID, PICTURES, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pixels(bundles: Bundles) -> Matcher:
    """A matcher that starts from pixels."""
    return Matcher.load(bundles.of(*export_words(GRID)))


def arrays() -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in PICTURES]


def test_paths_bytes_images_and_arrays_of_a_picture_are_encoded_alike(pixels: Matcher) -> None:
    expected = pixels.encode_images(PICTURES).embedding
    forms: list[list[Any]] = [
        [str(path) for path in PICTURES],
        [path.read_bytes() for path in PICTURES],
        [Image.open(path) for path in PICTURES],
        arrays(),
    ]
    for form in forms:
        np.testing.assert_array_equal(pixels.encode_images(form).embedding, expected)


def test_a_picture_is_encoded_the_same_in_any_company(pixels: Matcher) -> None:
    one, other = arrays()[:2]
    mixed = [*[one] * (TOGETHER + 1), other, one, other]
    found = pixels.encode_images(mixed).embedding
    alone = [pixels.encode_images([picture]).embedding[0] for picture in (one, other)]
    expected = [alone[picture is other] for picture in mixed]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(
        pixels.encode_images(np.stack([one] * 3)).embedding, [alone[0]] * 3, atol=1e-6
    )


def test_consecutive_pictures_of_one_shape_are_one_batch() -> None:
    small, large = np.zeros((4, 5, 3), np.uint8), np.zeros((6, 5, 3), np.uint8)
    checked = CheckedPictures([small, small, large, small])
    found = [
        (numbers.tolist(), inputs["pictures"].shape)
        for numbers, inputs in checked.batches(slice(None), Limits(64))
    ]
    assert found == [([0, 1], (2, 4, 5, 3)), ([2], (1, 6, 5, 3)), ([3], (1, 4, 5, 3))]


def test_a_broken_picture_is_refused_by_name_or_left_out() -> None:
    given: list[Any] = [b"broken", np.zeros((4, 5, 3), np.uint8), b""]
    with pytest.raises(InputError, match=r"^picture 0: not a picture"):
        list(CheckedPictures(given).batches(slice(None), Limits(8)))
    checked = CheckedPictures(given, names=["a", "b", "c"], skip_broken=True)
    assert [numbers.tolist() for numbers, _ in checked.batches(slice(None), Limits(8))] == [[1]]
    assert {number: why.split(":")[0] for number, why in checked.broken.items()} == {0: "a", 2: "c"}
    (alone,) = checked.batches(slice(1, 2), Limits(8))
    assert alone[0].tolist() == [1]
    assert not list(checked.batches(slice(2, 3), Limits(8)))


def test_slices_in_order_are_one_sequence_and_others_begin_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = threading.active_count()
    begun: list[int] = []
    whole = pictures.decoded_ahead

    def counting(given: Any, threads: int) -> Any:
        begun.append(threads)
        return whole(given, threads)

    monkeypatch.setattr(pictures, "decoded_ahead", counting)
    checked = CheckedPictures([np.full((4, 5, 3), n, np.uint8) for n in range(40)])

    def values(part: slice) -> list[int]:
        found = checked.batches(part, Limits(8))
        return [int(one[0, 0, 0]) for _, inputs in found for one in inputs["pictures"]]

    for start in range(0, 40, 16):
        assert values(slice(start, start + 16)) == [*range(start, min(start + 16, 40))]
    assert len(begun) == 1
    assert threading.active_count() <= before
    assert values(slice(5, 7)) == [5, 6]
    assert values(slice(3, 5)) == [3, 4]
    assert len(begun) == 3


def test_large_pictures_are_few_in_a_batch_and_too_large_ones_refused() -> None:
    large, small = np.zeros((2000, 3001, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
    checked = CheckedPictures([large, large, small])
    sizes = [len(numbers) for numbers, _ in checked.batches(slice(None), Limits(8))]
    assert sizes == [1, 1, 1]
    limits = Limits(8, height=2000, width=3000)
    with pytest.raises(InputError, match="picture 0: 3001 x 2000 pixels, and the engine takes"):
        list(checked.batches(slice(None), limits))
    skipping = CheckedPictures([large, small], skip_broken=True)
    assert [numbers.tolist() for numbers, _ in skipping.batches(slice(None), limits)] == [[1]]
    assert [*skipping.broken] == [0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("a.jpg", "put the picture in a list"),
        (np.zeros((4, 5, 3), np.uint8), "put the picture in a list"),
        ([np.zeros((36, 2048), np.float32), 3], "picture 1 is int"),
        (np.zeros((2, 36, 8), np.float32), r"the picture is float32 \[2, 36, 8\]"),
        (Regions(np.ones((1, 4, 8), np.float32)), "Regions were given"),
        ([np.zeros((4, 4, 3), np.float32)], "an array of float32"),
        (None, "not a NoneType"),
    ],
)
def test_what_is_no_picture_is_told(pixels: Matcher, given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        pixels.encode_images(given)


@pytest.mark.parametrize(
    "given", ["photo.jpg", ["photo.jpg"], [Path("a")], [Image.new("L", (2, 2))]]
)
def test_a_model_of_regions_says_what_it_takes(matcher: Matcher, given: Any) -> None:
    with pytest.raises(InputError, match="a picture was given, and this model takes features"):
        matcher.encode_images(given)


def test_a_gallery_of_pictures_is_searched_by_texts_and_pictures(
    pixels: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures.CheckedPictures, "together", 2)
    gallery = Gallery.create(tmp_path / "gallery", pixels)
    seen: list[int] = []
    names = [path.name for path in PICTURES]
    gallery.add(names, PICTURES, metadata={"number": [*range(len(names))]}, progress=seen.append)
    assert seen == [2, 4, 5]
    retriever = Retriever(pixels, gallery)
    scores = GRID.expected["scores"].numpy()
    hits = retriever.search(GRID.captions[0], k=5)
    assert list(hits.ids) == [names[n] for n in np.argsort(-scores[:, 0])]
    np.testing.assert_allclose(hits.scores, np.sort(scores[:, 0])[::-1], atol=1e-4)
    for query in (PICTURES[3], str(PICTURES[3]), arrays()[3], Image.open(PICTURES[3])):
        own = retriever.search(image=query, k=2, where="number > 0")
        assert own.ids[0] == names[3]
        assert own.scores[0] == pytest.approx(1, abs=1e-5)
    several = retriever.search(image=PICTURES[:2], k=1)
    assert [hits.ids[0] for hits in several] == names[:2]


def test_a_model_of_regions_says_so_where_a_picture_is_searched_with(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text")
    gallery.add(["a"], FULL.captions[:1])
    for given in ("photo.jpg", Image.new("RGB", (3, 3))):
        with pytest.raises(InputError, match="a picture was given, and this model takes features"):
            Retriever(matcher, gallery).search(image=given)


def test_re_ranking_is_for_the_other_modality(pixels: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", pixels)
    gallery.add(["a"], PICTURES[:1])
    with pytest.raises(UsageError, match="bank"):
        Retriever(pixels, gallery).search(image=PICTURES[0], rerank=True)


def test_a_matcher_of_pairs_has_no_score_within_a_modality(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], FULL.regions[:1])
    with pytest.raises(InputError, match="holds images; search it with a text"):
        Retriever(matcher, gallery).search(image=FULL.regions[0])
