"""A made picture to compare detectors on: forms of many sizes, as noise gives odd boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 480, 640


def made_scene(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Rectangles, ellipses and stripes on a shaded ground, ``uint8 [height, width, 3]``."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = 90 + 60 * np.stack([x, y, 1 - x * y], axis=2)
    for number in range(24):
        middle_y, middle_x = rng.uniform(0, 1, 2)
        tall, wide = rng.uniform(0.03, 0.35, 2)
        below, beside = np.abs(y - middle_y) / tall, np.abs(x - middle_x) / wide
        inside = below**2 + beside**2 < 1 if number % 2 else np.maximum(below, beside) < 1
        colour = rng.uniform(0, 255, 3)
        stripes = 25 * np.sin(rng.uniform(20, 120) * (x if number % 3 else y))
        picture[inside] = colour + stripes[inside, None]
    return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)
