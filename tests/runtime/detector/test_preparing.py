"""Pictures are resized as the published programs do, also where no golden case looks."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itr_deploy.bundle.detector import Sides
from itr_deploy.errors import InputError
from itr_deploy.runtime.detector.preparing import MEAN, prepared, resizing
from itr_deploy.runtime.pictures.decode import decoded

SIDES = Sides(shortest=20, longest=33)
RNG = np.random.default_rng(4)


def plainly(pixels: np.ndarray, dialect: str, sides: Sides) -> np.ndarray:
    """Every sample for itself, in exact fractions of the rule's coordinates."""
    height, width = pixels.shape[:2]
    size = resizing(height, width, dialect, sides)
    image = np.empty((3, size.height, size.width))

    def between(place: int, old: int, new: int) -> tuple[int, int, float]:
        if dialect == "bua-caffe":
            at = (place + 0.5) * (1 / size.scale) - 0.5
        else:
            ratio = Fraction(float(np.float32(old) / np.float32(new)))
            at = float(np.float32(float((place + Fraction(1, 2)) * ratio - Fraction(1, 2))))
        low = int(np.floor(at))
        return max(0, min(old - 1, low)), max(0, min(old - 1, low + 1)), at - low

    for y in range(size.height):
        y0, y1, down = between(y, height, size.height)
        for x in range(size.width):
            x0, x1, right = between(x, width, size.width)
            upper = pixels[y0, x0] * (1 - right) + pixels[y0, x1] * right
            lower = pixels[y1, x0] * (1 - right) + pixels[y1, x1] * right
            image[:, y, x] = (upper * (1 - down) + lower * down)[::-1] - MEAN
    return image


@pytest.mark.parametrize("dialect", ["bua-caffe", "frcnn-vg"])
@pytest.mark.parametrize("shape", [(11, 13), (40, 25), (9, 50), (20, 20), (64, 21), (20, 33)])
def test_the_resize_is_bilinear_at_the_rules_coordinates(
    dialect: str, shape: tuple[int, int]
) -> None:
    pixels = RNG.integers(0, 256, (*shape, 3), np.uint8)
    found = prepared(pixels, "x", dialect, SIDES)
    expected = plainly(pixels, dialect, SIDES)
    assert found.image.shape == expected.shape
    assert found.image.dtype == np.float32
    assert np.abs(found.image - expected).max() < 1e-4
    assert found.picture_size == shape[::-1]


@pytest.mark.parametrize(
    ("dialect", "shape", "expected"),
    [
        # 33.5 rounds to 34, which is too long; 32.5 to 32, half to even, which is not.
        ("bua-caffe", (40, 67), (20, 33)),
        ("bua-caffe", (40, 65), (20, 32)),
        # The limit is on what was rounded: 33.4 becomes 33, and the other side stays 20.
        ("bua-caffe", (100, 167), (20, 33)),
        ("bua-caffe", (50, 200), (8, 33)),
        # 33.4 is too long before it is rounded, and 19.76 is then rounded half up.
        ("frcnn-vg", (100, 167), (20, 33)),
        ("frcnn-vg", (167, 100), (33, 20)),
        ("frcnn-vg", (40, 65), (20, 33)),
        ("frcnn-vg", (50, 200), (8, 33)),
    ],
)
def test_the_sides_follow_the_dialect(
    dialect: str, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    size = resizing(*shape, dialect, SIDES)
    assert (size.height, size.width) == expected


def test_the_longest_side_is_compared_after_rounding_in_bua_caffe() -> None:
    """A side of 33.4 stays, which is rounded to the limit."""
    assert resizing(100, 167, "bua-caffe", SIDES).scale == 20 / 100
    assert resizing(100, 168, "bua-caffe", SIDES).scale == 33 / 168


@pytest.mark.parametrize("dialect", ["bua-caffe", "frcnn-vg"])
def test_a_picture_whose_side_vanishes_is_refused_by_name(dialect: str) -> None:
    with pytest.raises(InputError, match=r"^strip\.png: 500 x 5 pixels become 33 x 0 .* cut the"):
        prepared(np.zeros((5, 500, 3), np.uint8), "strip.png", dialect, SIDES)


def test_transparency_and_turning_are_as_the_published_programs_read_files(tmp_path: Path) -> None:
    """Turned by EXIF, grey replicated, alpha dropped: the colour below it counts, not white."""
    pixels = RNG.integers(0, 256, (6, 8, 4), np.uint8)
    file = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, exif=exif)
    found = decoded(file, "x", transparent="ignored")
    np.testing.assert_array_equal(found, np.rot90(pixels[:, :, :3], -1))
    np.testing.assert_array_equal(decoded(pixels, "x", "ignored"), pixels[:, :, :3])
    grey = io.BytesIO()
    Image.fromarray(pixels[:, :, :2], "LA").save(grey, "PNG")
    found = decoded(grey.getvalue(), "x", transparent="ignored")
    np.testing.assert_array_equal(found, np.repeat(pixels[:, :, :1], 3, axis=2))
