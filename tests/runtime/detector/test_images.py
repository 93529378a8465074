"""With a detector, a model of regions takes pictures: encoding, galleries and searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itr_deploy import Detector, Gallery, InputError, Matcher, Regions, Retriever
from itr_deploy.errors import UsageError
from itr_deploy.runtime.detector.images import DetectedImages
from itr_deploy.runtime.encoding.pictures import Limits
from tests.support.exports import Bundles
from tests.support.tiny_detector import tiny_detector_of

RNG = np.random.default_rng(3)
PIXELS = [RNG.integers(0, 256, (60 + 9 * n, 80, 3), np.uint8) for n in range(5)]
SMALL = RNG.integers(0, 256, (18, 40, 3), np.uint8)
"""Of few proposals."""


@pytest.fixture(scope="module")
def fitting(bundles: Bundles) -> Path:
    """A detector whose features are as wide as the golden matcher's."""
    return tiny_detector_of(bundles, feature_dim=32)


@pytest.fixture(scope="module")
def looking(bundle: Path, fitting: Path) -> Matcher:
    return Matcher.load(bundle, detector=fitting)


def adaptive(detector: Detector, least: int, most: int) -> Detector:
    """The detector as if it had been exported with other numbers of regions."""
    from dataclasses import replace

    manifest = detector.bundle.manifest
    counts = {"min_boxes": least, "max_boxes": most}
    selection = manifest.selection.model_copy(update=counts)
    changed = manifest.model_copy(update={"selection": selection})
    return Detector(replace(detector.bundle, manifest=changed), detector.backend)


def test_a_picture_is_encoded_as_its_regions_are(looking: Matcher, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PIXELS[1]).save(file)
    forms = [PIXELS[0], file, Image.fromarray(PIXELS[2])]
    regions = looking.detector.regions(PIXELS[:3])
    texts = ["a dog on the grass"]
    expected = looking.score(texts=texts, images=regions)
    np.testing.assert_allclose(looking.score(texts=texts, images=forms), expected, atol=1e-5)
    same = np.stack([PIXELS[0]] * 2)
    found = looking.score(texts=texts, images=same)
    np.testing.assert_allclose(found[:, 0], [expected[0, 0]] * 2, atol=1e-5)
    # Regions are still taken.
    np.testing.assert_allclose(
        looking.score(texts=texts, images=regions.features), expected, atol=1e-6
    )


def test_a_detector_that_does_not_fit_is_refused_before_any_work(
    bundle: Path, fitting: Path, detector: Detector, matcher: Matcher
) -> None:
    with pytest.raises(InputError, match=r"regions have 8 features each, .* takes 32;"):
        Matcher.load(bundle, detector=detector)
    with pytest.raises(UsageError, match="detector=7 must be a path or a Detector"):
        Matcher.load(bundle, detector=7)
    with pytest.raises(InputError, match=r"a picture was given, .* detector= \(--detector\)"):
        matcher.encode_images(["a.png"])
    with pytest.raises(InputError, match="a picture was given"):
        matcher.encode_images(PIXELS)


def test_fewer_proposals_than_the_model_takes_regions_are_refused(
    bundle: Path, fitting: Path, matcher: Matcher
) -> None:
    from itr_deploy.runtime.detector.images import check_fits

    items = matcher.bundle.manifest.images.model_copy(update={"regions": 36})
    check_fits(Detector.load(fitting), items, "b")
    with pytest.raises(InputError, match="looks at 30 proposals in a picture, and the model of b"):
        check_fits(Detector.load(fitting, proposals=30), items, "b")
    pixels = items.model_copy(update={"pictures": True})
    with pytest.raises(InputError, match="b: its model starts from pixels and needs no detector"):
        check_fits(Detector.load(fitting), pixels, "b")


def test_galleries_hold_boxes_and_sizes_and_are_searched_by_picture(
    bundle: Path, fitting: Path, looking: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "images", looking)
    gallery.add(["a", "b", "c"], PIXELS[:3])
    (placed, other) = gallery.boxes(["b", "a"])
    (found,) = looking.detector.detect(PIXELS[1:2])
    np.testing.assert_allclose(placed.boxes, found.boxes, atol=1e-3)
    assert placed.picture_size.tolist() == [80, 69]
    assert other.picture_size.tolist() == [80, 60]
    texts = Gallery.create(tmp_path / "texts", looking, "text")
    texts.add(["x", "y"], ["a dog on the grass", "two cats"])
    file = tmp_path / "query.png"
    Image.fromarray(PIXELS[0]).save(file)
    retriever = Retriever.load(bundle, tmp_path / "texts", detector=fitting)
    regions = looking.detector.regions(PIXELS[:1])
    (expected,) = retriever.search(image=regions, k=2)
    for query in (file, str(file), PIXELS[0], Image.fromarray(PIXELS[0])):
        hits = retriever.search(image=query, k=2)
        assert hits.ids == expected.ids
        np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-4)
    several = retriever.search(image=[file, PIXELS[1]], k=2)
    assert [len(hits) for hits in several] == [2, 2]


class Timed:
    """A backend that says it is a GPU's, and takes a second for every picture."""

    device = "cuda"

    def __init__(self, backend: Any) -> None:
        self._backend, self.now = backend, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, graph: str, inputs: Any) -> Any:
        if graph == "detector":
            self.now += len(inputs["image"])
        return self._backend.run(graph, inputs)


class TestDetectedImages:
    @pytest.fixture
    def items(self, looking: Matcher) -> Any:
        return looking.bundle.manifest.images

    @pytest.fixture
    def finder(self, looking: Matcher) -> Detector:
        return looking.detector

    def test_the_number_that_a_model_fixes_is_what_every_picture_gets(
        self, items: Any, finder: Detector
    ) -> None:
        fixed = items.model_copy(update={"regions": 5})
        images = DetectedImages(finder, fixed, PIXELS)
        assert (images.positions, images.are_ragged) == (5, False)
        batches = list(images.batches(slice(None), Limits(64)))
        assert [given["regions"].shape for _, given in batches] == [(5, 5, 32)]

    def test_numbers_differ_where_model_and_detector_allow_it(
        self, items: Any, finder: Detector
    ) -> None:
        images = DetectedImages(adaptive(finder, 2, 40), items, [*PIXELS, SMALL])
        assert (images.positions, images.are_ragged) == (40, True)
        for numbers, given in images.batches(slice(None), Limits(64)):
            assert set(images.counts[numbers]) == {given["regions"].shape[1]}
        assert len(set(images.counts)) > 1
        bounded = items.model_copy(update={"max_regions": 7})
        assert DetectedImages(adaptive(finder, 2, 40), bounded, PIXELS).positions == 7
        assert DetectedImages(adaptive(finder, 9, 40), bounded, PIXELS).are_ragged is False

    def test_a_picture_of_too_few_regions_is_named_or_left_out(
        self, items: Any, finder: Detector
    ) -> None:
        given = [PIXELS[0], SMALL, PIXELS[1]]
        images = DetectedImages(finder, items, given, names=["a", "low", "c"])
        with pytest.raises(InputError, match=r"low: .* finds .* every image has 36 here"):
            list(images.batches(slice(None), Limits(64)))
        skipping = DetectedImages(finder, items, given, names=["a", "low", "c"], skip_broken=True)
        (batch,) = skipping.batches(slice(None), Limits(64))
        assert batch[0].tolist() == [0, 2]
        assert skipping.broken.keys() == {1}

    def test_fewer_regions_are_no_fault_where_nothing_fixes_their_number(
        self, items: Any, finder: Detector
    ) -> None:
        given = [PIXELS[0], SMALL]
        vectors = items.model_copy(update={"tensors": ()})
        for own in (
            DetectedImages(finder, items, given, any_number=True),
            DetectedImages(finder, vectors, given),
        ):
            assert own.are_ragged
            shapes = [g["regions"].shape[:2] for _, g in own.batches(slice(None), Limits(64))]
            assert shapes[0] == (1, 36)
            assert shapes[1][1] < 36
        fixed = vectors.model_copy(update={"regions": 36})
        assert not DetectedImages(finder, fixed, given, any_number=True).are_ragged

    def test_a_batch_holds_no_more_than_the_encoder_takes(
        self, items: Any, finder: Detector
    ) -> None:
        images = DetectedImages(finder, items, PIXELS)
        sizes = [len(numbers) for numbers, _ in images.batches(slice(None), Limits(2))]
        assert sizes == [2, 2, 1]

    def test_slices_are_read_in_turn_or_anew(self, items: Any, finder: Detector) -> None:
        images = DetectedImages(finder, items, PIXELS)

        def read(part: slice) -> Any:
            (batch,) = images.batches(part, Limits(8))
            return batch[1]["regions"]

        first, second = read(slice(0, 2)), read(slice(2, 5))
        np.testing.assert_allclose(read(slice(0, 2)), first, atol=1e-5)
        np.testing.assert_allclose(read(slice(2, 5)), second, atol=1e-5)

    def test_the_first_pictures_tell_the_time_and_are_looked_at_once(
        self, items: Any, finder: Detector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[str] = []
        prepare = Detector._prepared

        def noted(self: Detector, picture: Any, name: str) -> Any:
            looked.append(name)
            return prepare(self, picture, name)

        monkeypatch.setattr(Detector, "_prepared", noted)
        images = DetectedImages(finder, items, [b"broken", *PIXELS], skip_broken=True)
        assert 0 < images.seconds_a_picture() < 60
        (batch,) = images.batches(slice(None), Limits(64))
        assert batch[0].tolist() == [1, 2, 3, 4, 5]
        assert images.broken.keys() == {0}
        assert sorted(looked) == [f"picture {number}" for number in range(6)]
        assert DetectedImages(finder, items, [b"broken"]).seconds_a_picture() is None

    def test_pictures_that_a_gpu_looks_at_together_take_equal_parts_of_their_time(
        self, items: Any, finder: Detector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timed = Timed(finder.backend)
        monkeypatch.setattr("itr_deploy.runtime.detector.images.monotonic", lambda: timed.now)
        given = [*PIXELS[:2], b"broken", *PIXELS * 5]
        images = DetectedImages(Detector(finder.bundle, timed), items, given, skip_broken=True)
        assert images.seconds_a_picture() == pytest.approx(1.0)
        numbers = np.concatenate([own for own, _ in images.batches(slice(None), Limits(64))])
        assert sorted(numbers) == [number for number in range(len(given)) if number != 2]
        assert timed.now == len(given) - 1  # each once

    def test_boxes_that_nobody_asks_for_are_not_kept(self, items: Any, finder: Detector) -> None:
        images = DetectedImages(finder, items, PIXELS)
        for part in (slice(0, 2), slice(2, 4)):
            list(images.batches(part, Limits(8)))
        assert [images.placed(number) is None for number in range(4)] == [True, True, False, False]

    def test_a_model_that_reads_boxes_gets_them(self, items: Any, finder: Detector) -> None:
        reading = items.model_copy(update={"boxes": True})
        images = DetectedImages(finder, reading, PIXELS[:2])
        (batch,) = images.batches(slice(None), Limits(8))
        assert batch[1]["boxes"].shape == (2, 36, 4)
        assert batch[1]["picture_sizes"].tolist() == [[80, 60], [80, 69]]
        np.testing.assert_array_equal(images.placed(1).boxes, batch[1]["boxes"][1])
        assert images.placed(1) is None


def test_flat_boxes_at_a_pictures_edge_are_stored_as_they_were_found(
    bundles: Bundles, bundle: Path, tmp_path: Path
) -> None:
    """A regression that leads out of the picture, which ``frcnn-vg`` clips and keeps."""
    selection = {
        "min_boxes": 4,
        "max_boxes": 4,
        "overlaps": (0.99,),
        "confidence": None,
        "delta_weights": (0.01, 0.01, 5.0, 5.0),
    }
    far = tiny_detector_of(bundles, dialect="frcnn-vg", feature_dim=32, selection=selection)
    matcher = Matcher.load(bundle, detector=far)
    (found,) = matcher.detector.detect(PIXELS[:1])
    flat = (found.boxes[:, 2:] <= found.boxes[:, :2]).any(axis=1)
    assert flat.any()
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], PIXELS[:1])
    (placed,) = gallery.boxes(["a"])
    np.testing.assert_allclose(placed.boxes, found.boxes, atol=1e-3)
    assert placed.picture_size.tolist() == [80, 60]


def test_a_picture_is_explained_with_its_boxes(looking: Matcher, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PIXELS[1]).save(file)
    regions = looking.detector.regions(PIXELS[1:2])
    expected = looking.explain("a dog on the grass", regions)
    for form in (PIXELS[1], file, [file]):
        found = looking.explain("a dog on the grass", form)
        np.testing.assert_allclose(found.attention, expected.attention, atol=1e-5)
        assert found.placed is not None
        np.testing.assert_allclose(found.placed.boxes, regions.boxes[0], atol=1e-3)
        assert found.placed.picture_size.tolist() == [80, 69]
    with pytest.raises(InputError, match="image= has 2 images; give one"):
        looking.explain("a dog", [file, file])


def test_images_given_as_regions_with_boxes_are_as_before(looking: Matcher) -> None:
    found = looking.detector.regions(PIXELS[:2])
    encoded = looking.encode_images(Regions(found.features, found.boxes, found.picture_sizes))
    assert len(encoded) == 2
