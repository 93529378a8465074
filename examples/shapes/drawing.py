"""Drawing a scene as a picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.shapes.scenes import Object, Scene

PICTURE_SIDE = 120

_SUPERSAMPLING = 3
_CANVAS_SIDE = PICTURE_SIDE * _SUPERSAMPLING

_PAINTS = {
    "red": (214, 48, 49),
    "orange": (243, 132, 38),
    "yellow": (246, 204, 52),
    "green": (46, 160, 84),
    "blue": (45, 108, 203),
    "purple": (132, 70, 178),
    "pink": (242, 132, 178),
    "black": (44, 46, 54),
}
_TINTS = {"cream": (250, 243, 226), "blue": (219, 234, 248), "grey": (226, 227, 230)}

# These keep equal scenes from having equal pixels.
_PAINT_JITTER = 0.07
_TILT = math.radians(12)
_LIGHT_SLOPE = 0.06
_NOISE = 3.0

_SHADOW_OFFSET = 0.012
_SHADOW_STRENGTH = 0.28

_RING_HOLE = 0.55
_STAR_WAIST = 0.45
_CROSS_ARM = 0.34


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """An RGB picture of the scene, 120 by 120 pixels, with slight random variations."""
    masks = [_mask(obj, float(rng.uniform(-_TILT, _TILT))) for obj in scene.objects]
    picture = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), _TINTS[scene.background])
    picture.paste((40, 44, 60), mask=_shadow(masks))
    for obj, mask in zip(scene.objects, masks, strict=True):
        picture.paste(_mixed_paint(obj.colour, rng), mask=mask.reduce(_SUPERSAMPLING))
    return _weathered(picture, rng)


def _mask(obj: Object, tilt: float) -> Image.Image:
    """Where the object is, supersampled: 255 inside, 0 outside."""
    mask = Image.new("L", (_CANVAS_SIDE, _CANVAS_SIDE))
    draw = ImageDraw.Draw(mask)
    draw.polygon(_on_canvas(_outline(obj.shape), obj, tilt), fill=255)
    if obj.shape == "ring":
        draw.polygon(_on_canvas(_circle() * _RING_HOLE, obj, tilt), fill=0)
    return mask


def _on_canvas(outline: NDArray[np.float64], obj: Object, tilt: float) -> list[tuple[float, float]]:
    """The outline `[P, 2]` turned, scaled and moved to the object's place on the canvas."""
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    points = (outline @ turn * obj.radius + (obj.x, obj.y)) * _CANVAS_SIDE
    return [(x, y) for x, y in points.tolist()]


def _outline(shape: str) -> NDArray[np.float64]:
    """The corners of a shape `[P, 2]` in the unit disc, y downwards."""
    match shape:
        case "circle" | "ring":
            return _circle()
        case "square":
            return _regular(4, first=math.pi / 4)
        case "triangle":
            return _regular(3)
        case "diamond":
            return _regular(4) * (0.72, 1.0)
        case "star":
            waist = _regular(5, first=math.pi / 5) * _STAR_WAIST
            return np.stack([_regular(5), waist], axis=1).reshape(10, 2)
        case "cross":
            return _cross()
        case "heart":
            return _heart()
    raise ValueError(f"no outline for shape {shape!r}")


def _regular(corners: int, first: float = 0.0) -> NDArray[np.float64]:
    """Corners of a regular polygon, the first at angle `first` clockwise from the top."""
    angles = first + np.arange(corners) * (2 * math.pi / corners)
    return np.stack([np.sin(angles), -np.cos(angles)], axis=1)


def _circle() -> NDArray[np.float64]:
    return _regular(60) * 0.92  # about the same area as the other shapes


def _cross() -> NDArray[np.float64]:
    a = _CROSS_ARM
    arm = np.array([[-a, -a], [-a, -1.0], [a, -1.0]])
    quarter_turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2.5], axis=1) / 16


def _shadow(masks: list[Image.Image]) -> Image.Image:
    """One soft shadow `L` for all objects, at the picture's resolution."""
    together = Image.new("L", (_CANVAS_SIDE, _CANVAS_SIDE))
    for mask in masks:
        together = ImageChops.lighter(together, mask)
    offset = round(_SHADOW_OFFSET * _CANVAS_SIDE)
    shifted = Image.new("L", together.size)
    shifted.paste(together, (offset, 2 * offset))
    soft = shifted.reduce(_SUPERSAMPLING).filter(ImageFilter.GaussianBlur(2))
    return soft.point(lambda value: value * _SHADOW_STRENGTH)


def _mixed_paint(colour: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """The colour's paint, mixed slightly differently every time."""
    mixed = np.array(_PAINTS[colour]) * (1 + rng.uniform(-_PAINT_JITTER, _PAINT_JITTER, 3))
    red, green, blue = mixed.clip(0, 255).astype(int).tolist()
    return red, green, blue


def _weathered(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture under uneven light, with sensor noise."""
    across = np.linspace(-1, 1, PICTURE_SIDE)
    direction = rng.uniform(0, 2 * math.pi)
    slope = math.cos(direction) * across[None, :] + math.sin(direction) * across[:, None]
    light = 1 - _LIGHT_SLOPE * (slope + 1) / 2
    pixels = np.asarray(picture) * light[..., None]
    pixels += rng.normal(0, _NOISE, pixels.shape)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
