"""Scenes: what is in a picture, before anything is drawn or said about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
BACKGROUNDS = ("cream", "blue", "grey")

# Half the extent of an object, as a fraction of the picture's side.
RADII = {"small": 0.075, "medium": 0.11, "large": 0.155}

FEWEST_OBJECTS, MOST_OBJECTS = 2, 5

# Every split has its own seed, so making one does not depend on making another.
SPLIT_SEEDS = {"train": 1101, "dev": 2203, "test": 3307, "rerank": 4409}

Stream = Literal["scene", "captions", "drawing"]
_STREAMS: tuple[Stream, ...] = ("scene", "captions", "drawing")

_GAP = 0.02
_PLACING_TRIES = 200


@dataclass(frozen=True)
class Object:
    """One shape; `x` and `y` are its centre in [0, 1], with y growing downwards."""

    shape: str
    colour: str
    size: str
    x: float
    y: float

    @property
    def radius(self) -> float:
        """Half the extent, as a fraction of the picture's side."""
        return RADII[self.size]

    def distance(self, other: Object) -> float:
        """Distance between the two centres."""
        return math.hypot(self.x - other.x, self.y - other.y)


@dataclass(frozen=True)
class Scene:
    """Two to five objects on a tinted background."""

    background: str
    objects: tuple[Object, ...]


def generator(split: str, index: int, stream: Stream) -> np.random.Generator:
    """The random generator for one aspect of picture `index`, independent of all other draws.

    Raises:
        ValueError: `split` is not one of the three.
    """
    if split not in SPLIT_SEEDS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLIT_SEEDS)}")
    return np.random.default_rng([SPLIT_SEEDS[split], index, _STREAMS.index(stream)])


def choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def sample_scene(rng: np.random.Generator) -> Scene:
    """A random scene whose objects neither overlap nor leave the picture."""
    wanted = int(rng.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1))
    background = choose(rng, BACKGROUNDS)
    objects: list[Object] = []
    while len(objects) < wanted:
        placed = _place_object(rng, objects)
        if placed is None:  # no room left: start over
            objects.clear()
        else:
            objects.append(placed)
    return Scene(background, tuple(objects))


def _place_object(rng: np.random.Generator, others: list[Object]) -> Object | None:
    """A random object clear of `others`, or None if no free place is found."""
    shape, colour, size = choose(rng, SHAPES), choose(rng, COLOURS), choose(rng, tuple(RADII))
    margin = RADII[size] + _GAP
    for _ in range(_PLACING_TRIES):
        x, y = (margin + (1 - 2 * margin) * rng.random(2)).tolist()
        candidate = Object(shape, colour, size, round(x, 4), round(y, 4))
        if all(candidate.distance(o) > candidate.radius + o.radius + _GAP for o in others):
            return candidate
    return None
