"""Pictures in, regions out: what a user of `Detector` sees."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itr_deploy import Detection, Detector, InputError, Matcher, Regions
from itr_deploy.errors import BundleError, UsageError
from itr_deploy.runtime.encoding.checks import NotFiniteError
from tests.support.region_cases import BUA_CAFFE

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (60 + 7 * n, 80, 3), np.uint8) for n in range(4)]


def same(found: Detection, expected: Detection) -> None:
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_a_picture_may_be_a_path_an_image_bytes_or_an_array(
    detector: Detector, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PIXELS[0]).save(file)
    forms = [file, str(file), file.read_bytes(), Image.open(file), PIXELS[0]]
    first, *others = detector.detect(forms, boxes=(5, 20))
    for other in others:
        same(other, first)
    assert first.picture_size == (80, 60)
    assert 5 <= len(first) <= 20
    assert len(first) == len(first.features) == len(first.classes) == len(first.attributes)


def test_regions_are_what_matchers_take(detector: Detector) -> None:
    """Equal numbers make arrays, different ones lists, each as `Regions` says."""
    equal = detector.regions(PIXELS, boxes=4)
    assert isinstance(equal, Regions)
    assert [np.shape(part) for part in (equal.features, equal.boxes, equal.picture_sizes)] == [
        (4, 4, 8),
        (4, 4, 4),
        (4, 2),
    ]
    np.testing.assert_array_equal(equal.picture_sizes[1], [80, 67])
    ragged = detector.regions(PIXELS, boxes=(1, 100))
    assert len({len(one) for one in ragged.features}) > 1
    assert [len(one) for one in ragged.features] == [len(one) for one in ragged.boxes]
    none = detector.regions([], boxes=4)
    assert np.shape(none.features) == (0, 4, 8)


def test_the_bundle_says_how_many_regions_where_nobody_does(detector: Detector) -> None:
    own = detector.bundle.manifest.selection
    found = detector.detect(PIXELS[:1])
    assert own.min_boxes == own.max_boxes == len(found[0]) == 36


def test_both_dialects_run_and_a_detector_may_have_no_attributes(
    detector: Detector, port: Detector
) -> None:
    (found,) = port.detect(PIXELS[:1], boxes=(1, 9))
    assert found.attributes is None
    assert found.attribute_confidence is None
    assert set(found.classes) <= set(range(6))
    (found,) = detector.detect(PIXELS[:1], boxes=(1, 9))
    assert set(found.attributes) <= set(range(5))


def test_fewer_proposals_give_the_same_features_of_the_boxes_that_are_left(
    detector: Detector,
) -> None:
    (many,) = detector.detect(PIXELS[:1], boxes=(1, 100), proposals=50)
    (few,) = detector.detect(PIXELS[:1], boxes=(1, 100), proposals=5)
    assert len(few) <= 5
    for box, feature in zip(few.boxes, few.features, strict=True):
        place = np.abs(many.boxes - box).max(axis=1).argmin()
        if np.abs(many.boxes[place] - box).max() < 1e-3:
            np.testing.assert_allclose(many.features[place], feature, atol=1e-5)


def test_chunks_of_proposals_change_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = Detector.load(tiny), Detector.load(tiny)
    monkeypatch.setattr(whole._networks, "_chunk", 1000)
    monkeypatch.setattr(parts._networks, "_chunk", 7)
    same(parts.detect(PIXELS[:1])[0], whole.detect(PIXELS[:1])[0])


def test_pictures_of_one_shape_go_through_the_first_network_together(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: neighbours or not, and every picture stays in its place."""
    detector = Detector.load(tiny)
    alone = [found for one in PIXELS for found in detector.detect([one])]
    monkeypatch.setattr(type(detector._networks), "together", 3)
    calls: list[int] = []
    run = detector.backend.run

    def counted(graph: str, inputs: Any) -> Any:
        if graph == "detector":
            calls.append(len(inputs["image"]))
        return run(graph, inputs)

    monkeypatch.setattr(detector.backend, "run", counted)
    mixed = [PIXELS[number] for number in (0, 1, 0, 2, 0, 0, 3)]
    for found, number in zip(detector.detect(mixed), (0, 1, 0, 2, 0, 0, 3), strict=True):
        same(found, alone[number])
    assert sorted(calls) == [1, 1, 1, 1, 3]


class TestStream:
    def test_a_broken_picture_is_told_in_its_place(
        self, detector: Detector, tmp_path: Path
    ) -> None:
        broken, fine = tmp_path / "broken.png", tmp_path / "fine.png"
        broken.write_bytes(b"nothing")
        Image.fromarray(PIXELS[0]).save(fine)
        given = [fine, broken, tmp_path / "absent.png", np.zeros((2, 2), np.float32), 7, fine]
        found = list(detector.stream(given))
        assert [isinstance(one, InputError) for one in found] == [False, *[True] * 4, False]
        told = [str(one) for one in found[1:5]]
        assert told[0].startswith(f"{broken}: not a picture")
        assert told[1] == f"{tmp_path / 'absent.png'}: no such file or directory"
        assert told[2].startswith("picture 3: an array of float32")
        assert told[3].startswith("picture 4 is int; a region detector starts from pixels")
        same(found[5], found[0])

    def test_a_few_pictures_are_in_memory_at_a_time(self, detector: Detector) -> None:
        taken = 0

        def endless() -> Iterator[np.ndarray]:
            nonlocal taken
            while True:
                taken += 1
                yield PIXELS[0]

        stream = detector.stream(endless(), boxes=2)
        for _ in range(3):
            assert isinstance(next(stream), Detection)
        assert taken < 12
        stream.close()

    def test_names_are_those_given(self, detector: Detector) -> None:
        (told,) = detector.stream([b""], names=["of mine"])
        assert str(told).startswith("of mine: ")

    def test_arguments_are_checked_at_the_call(self, detector: Detector) -> None:
        with pytest.raises(UsageError, match="boxes=0 must be a number of at least 1, or"):
            detector.stream([], boxes=0)


@pytest.mark.parametrize("boxes", [0, -3, True, "36", (5, 3), (1, 2, 3), (0, 5), 3.0])
def test_numbers_of_regions_that_make_no_sense_are_refused(detector: Detector, boxes: Any) -> None:
    with pytest.raises(UsageError, match=r"^boxes=.* must be a number of at least 1, or the least"):
        detector.regions(PIXELS, boxes=boxes)


def test_more_regions_than_proposals_are_refused_before_any_work(detector: Detector) -> None:
    with pytest.raises(UsageError, match=r"^boxes=55 .* the 54 proposals .* proposals="):
        detector.regions(["absent.png"], boxes=55)
    with pytest.raises(UsageError, match="proposals=0 must be a whole number of at least 1"):
        detector.regions(["absent.png"], proposals=0)


def test_a_broken_picture_ends_regions_by_name(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.png: no such file"):
        detector.regions([PIXELS[0], tmp_path / "absent.png"])
    with pytest.raises(InputError, match="put the picture in a list"):
        detector.regions("a.png")
    with pytest.raises(InputError, match="expected a list of pictures, not a int; a region detec"):
        detector.regions(7)
    with pytest.raises(InputError, match=r"the picture is uint8 \[3, 60, 80\]; a region detector"):
        detector.regions(np.zeros((3, 60, 80), np.uint8))


def test_a_stream_of_one_picture_or_of_none_is_refused_at_the_call(detector: Detector) -> None:
    for one in ("a.png", Path("a.png"), PIXELS[0], b"a"):
        with pytest.raises(InputError, match="put the picture in a list"):
            detector.stream(one)
    with pytest.raises(InputError, match="expected a list of pictures, not a int"):
        detector.stream(7)
    # Anything else to loop over will do.
    assert [len(found) for found in detector.stream(iter(PIXELS[:2]), boxes=5)] == [5, 5]


def test_a_picture_with_less_than_was_asked_for_is_named(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    # Proposals must be larger than 16 pixels.
    low = RNG.integers(0, 256, (18, 40, 3), np.uint8)
    with caplog.at_level(logging.WARNING, "itr_deploy"):
        (found,) = detector.detect([low], boxes=40)
    assert len(found) < 40
    assert not found.enough
    assert f"picture 0: has {len(found)} regions, not 40" in caplog.text


def test_a_picture_in_which_nothing_is_proposed_is_refused(detector: Detector) -> None:
    with pytest.raises(InputError, match="picture 0: the detector proposes nothing in its 40 x 15"):
        detector.regions([np.zeros((15, 40, 3), np.uint8)])


def test_what_overflows_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector.load(tiny)
    run = detector.backend.run

    def overflowing(graph: str, inputs: Any) -> Any:
        found = run(graph, inputs)
        return found | {"scores": found["scores"] * np.nan} if graph == "detector" else found

    monkeypatch.setattr(detector.backend, "run", overflowing)
    with pytest.raises(NotFiniteError, match="picture 0: the detector gives NaN or infinity"):
        detector.regions(PIXELS[:1])


def test_one_kind_of_bundle_in_place_of_the_other_is_told(bundle: Path, tiny: Path) -> None:
    with pytest.raises(BundleError, match="bundle of a region detector, and a matcher's is needed"):
        Matcher.load(tiny)
    with pytest.raises(BundleError, match="bundle of a matcher, imram, and a region detector's"):
        Detector.load(bundle)
    with pytest.raises(BundleError, match="no such bundle directory"):
        Detector.load(tiny / "absent")


def test_a_detector_belongs_to_its_process_and_names_itself(detector: Detector) -> None:
    assert repr(detector).startswith("<Detector bua-caffe '")
    assert detector.feature_dim == 8
    with pytest.raises(UsageError, match="a Detector cannot be pickled"):
        pickle.dumps(detector)


def test_golden_pictures_run_through_the_tiny_networks(detector: Detector) -> None:
    """Of every shape: the grids of anchors are those of the maps."""
    found = detector.detect(BUA_CAFFE.pictures, boxes=(1, 100))
    for one, number in zip(found, range(3), strict=True):
        width, height = BUA_CAFFE.prepared(number).picture_size
        assert one.picture_size == (width, height)
        assert (one.boxes[:, 2] <= width).all()
        assert (one.boxes[:, 3] <= height).all()


def test_anchors_that_are_not_the_graphs_are_refused(detector: Detector) -> None:
    manifest = detector.bundle.manifest
    fewer = manifest.model_copy(update={"anchors": manifest.anchors[:-1]})
    other = Detector(replace(detector.bundle, manifest=fewer), detector.backend)
    with pytest.raises(BundleError, match=r"scores of 1,?980 anchors .*; export the bundle again"):
        other.detect([np.zeros((60, 80, 3), np.uint8)])
