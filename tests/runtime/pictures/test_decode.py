"""Pictures of every kind become 8-bit RGB by the stated rules, or are refused in one line."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itr_deploy.errors import InputError
from itr_deploy.runtime.pictures import decode
from itr_deploy.runtime.pictures.decode import decoded, decoded_ahead, is_picture, made_ahead

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, size=(5, 7, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PNG = saved(Image.fromarray(PIXELS), "PNG")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_gives_its_pixels(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(saved(Image.fromarray(PIXELS), kind))
    for given_as in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(decoded(given_as, "x"), PIXELS)


def test_arrays_and_images_of_pillow_are_pictures_too() -> None:
    np.testing.assert_array_equal(decoded(PIXELS, "x"), PIXELS)
    np.testing.assert_array_equal(decoded(Image.fromarray(PIXELS), "x"), PIXELS)
    grey = PIXELS[:, :, 0]
    for one in (grey, grey[:, :, None], Image.fromarray(grey)):
        np.testing.assert_array_equal(decoded(one, "x"), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_stands_upright(turn: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = {1: PIXELS, 3: PIXELS[::-1, ::-1], 6: np.rot90(PIXELS), 8: np.rot90(PIXELS, -1)}
    if turn not in stored:
        stored = {2: PIXELS[:, ::-1], 4: PIXELS[::-1], 5: PIXELS.transpose(1, 0, 2)} | stored
        stored[7] = PIXELS[::-1, ::-1].transpose(1, 0, 2)
    found = decoded(
        saved(Image.fromarray(np.ascontiguousarray(stored[turn])), kind, exif=exif), "x"
    )
    np.testing.assert_array_equal(found, PIXELS)


@pytest.mark.parametrize("odd", [(0x011A, "seventy-two"), (0x0100, "wide")])
def test_a_picture_whose_other_data_are_odd_stands_upright_too(odd: tuple[int, str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    content = saved(Image.fromarray(PIXELS), "PNG", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        image.getexif()[odd[0]] = odd[1]
        np.testing.assert_array_equal(decoded(image, "x"), PIXELS[::-1, ::-1])


def test_one_image_of_pillow_may_be_given_many_times() -> None:
    large = np.tile(PIXELS, (60, 60, 1))
    for _ in range(5):
        image = Image.open(io.BytesIO(saved(Image.fromarray(large), "PNG")))
        for found in decoded_ahead([(image, "x")] * 6, threads=4):
            np.testing.assert_array_equal(found, large)


def test_an_image_of_pillow_that_cannot_be_read_is_told() -> None:
    closed = Image.open(io.BytesIO(PNG))
    closed.close()
    cut = Image.open(io.BytesIO(saved(Image.fromarray(np.tile(PIXELS, (99, 9, 1))), "BMP")[:900]))
    for image in (closed, cut, Image.new("La", (2, 2))):
        with pytest.raises(InputError, match=r"^x: "):
            decoded(image, "x")


def test_no_memory_is_not_a_broken_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, "_of_image", fail)
    with pytest.raises(MemoryError):
        decoded(PNG, "x")


def test_what_is_transparent_shows_white() -> None:
    alpha = np.concatenate([PIXELS, np.full((5, 7, 1), 255, np.uint8)], axis=2)
    alpha[0, :, 3] = 0
    found = decoded(saved(Image.fromarray(alpha), "PNG"), "x")
    assert (found[0] == 255).all()
    np.testing.assert_array_equal(found[1:], PIXELS[1:])
    np.testing.assert_array_equal(decoded(alpha, "x"), found)


def test_a_transparent_colour_of_a_palette_shows_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    found = decoded(saved(image, "PNG", transparency=0), "x")
    np.testing.assert_array_equal(found, [[[255, 255, 255], [40, 50, 60]]])


def test_of_16_bits_the_upper_8_count() -> None:
    deep = RNG.integers(0, 1 << 16, size=(4, 3), dtype=np.uint16)
    found = decoded(saved(Image.fromarray(deep), "PNG"), "x")
    np.testing.assert_array_equal(found, np.stack([deep >> 8] * 3, axis=2))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "1", "L", "P"])
def test_other_colours_become_rgb_as_pillow_converts_them(mode: str) -> None:
    plain = Image.fromarray(PIXELS)
    image = plain.convert("L").convert(mode) if mode in ("1", "L") else _in(plain, mode)
    np.testing.assert_array_equal(decoded(image, "x"), np.asarray(image.convert("RGB")))


def _in(plain: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", plain.split())
    return plain.convert(mode)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    found = decoded(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "x")
    np.testing.assert_array_equal(found[0, 0], [255, 0, 0])


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    for kind in ("PNG", "JPEG", "BMP"):
        whole = saved(Image.fromarray(np.tile(PIXELS, (9, 9, 1))), kind)
        for size in range(0, len(whole) - 64, 97):
            with pytest.raises(InputError, match=r"^holiday\.jpg: "):
                decoded(whole[:size], "holiday.jpg")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_are_a_picture_or_one_clear_line(data: st.DataObject) -> None:
    whole = bytearray(saved(Image.fromarray(PIXELS), data.draw(st.sampled_from(["PNG", "GIF"]))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))
    (found,) = decoded_ahead([(bytes(whole), "x")], threads=0)
    if isinstance(found, InputError):
        assert "\n" not in str(found)
        assert str(found).startswith("x: ")
    else:
        assert found.dtype == np.uint8
        assert found.shape[2] == 3


def huge_png(side: int) -> bytes:
    """The beginning of a PNG of so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 30_000])
def test_a_huge_picture_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(InputError, match="89,000,000"):
        decoded(huge_png(side), "x")


@pytest.mark.parametrize(
    ("given_as", "told"),
    [
        (b"", "not a picture that is decoded here"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC picture, .* convert it to JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(200), "not a picture that is decoded here"),
        (np.zeros((2, 2, 3), np.float32), "float32; a picture is uint8"),
        (np.zeros((2, 2, 5), np.uint8), r"shape \[2, 2, 5\]"),
        (np.zeros((0, 2, 3), np.uint8), "2 x 0 pixels"),
        (Image.new("F", (2, 2)), "values of 32 bits"),
        ("nowhere/a.png", "no such file"),
    ],
)
def test_what_cannot_be_decoded_is_told_in_one_line(given_as: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        decoded(given_as, "x")


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        decoded(tmp_path / "a.jpg", "a.jpg")
    with pytest.raises(InputError, match="is a directory"):
        decoded(tmp_path, "x")


def test_decoding_ahead_keeps_the_order_and_names_what_is_broken() -> None:
    pictures: list[Any] = [PNG, b"broken", PIXELS] * 20
    found = list(decoded_ahead(((one, f"p{n}") for n, one in enumerate(pictures)), threads=3))
    for number, one in enumerate(found):
        if number % 3 == 1:
            assert str(one).startswith(f"p{number}: ")
        else:
            np.testing.assert_array_equal(one, PIXELS)


def test_no_more_is_decoded_ahead_than_threads_and_two() -> None:
    begun: list[str] = []

    def count(picture: Any, name: str) -> Any:
        begun.append(name)
        return PIXELS

    before = set(threading.enumerate())
    ahead = made_ahead(((PNG, str(n)) for n in range(100)), threads=2, make=count)
    next(ahead)
    assert len(begun) <= 4
    ahead.close()
    assert len(begun) <= 4
    begun_here = set(threading.enumerate()) - before
    assert not [thread for thread in begun_here if thread.name.startswith("decode")]


@pytest.mark.parametrize(
    ("given_as", "one"),
    [
        ("a.jpg", True),
        (Path("a.jpg"), True),
        (PNG, True),
        (PIXELS, True),
        (PIXELS[:, :, 0], True),
        (Image.new("L", (1, 1)), True),
        (["a.jpg"], False),
        (PIXELS[None], False),
        (None, False),
    ],
)
def test_one_picture_is_told_from_several(given_as: Any, one: bool) -> None:
    assert is_picture(given_as) is one
