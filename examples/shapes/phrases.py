"""Phrases about one or two objects: how a caption names them, places them and relates them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from examples.shapes.scenes import Object, choose

# The first of each is the most common word in the captions, see `word_for`.
SHAPE_WORDS = {
    "circle": ("circle", "disc", "dot"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle",),
    "diamond": ("diamond", "rhombus"),
    "star": ("star",),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "heart": ("heart",),
}
COLOUR_WORDS = {
    "red": ("red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "black": ("black", "dark"),
}
SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized",),
    "large": ("large", "big", "huge"),
}
BACKGROUND_WORDS = {
    "cream": ("cream", "beige"),
    "blue": ("light blue", "pale blue"),
    "grey": ("grey", "light grey"),
}
RELATION_WORDS = {
    "left": ("to the left of", "left of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right side of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath", "underneath"),
    "near": ("next to", "beside", "close to", "near"),
}
_COLUMNS = (("on the left",), ("in the middle",), ("on the right",))
_ROWS = (("at the top", "near the top"), ("in the middle",), ("at the bottom", "near the bottom"))
_PLURALS = {"box": "boxes", "cross": "crosses", "rhombus": "rhombuses"}

# How often an object is named with its size, or without its colour or shape.
_SIZE_NAMED = {"small": 0.5, "medium": 0.15, "large": 0.5}
_COLOUR_LEFT_OUT = 0.08
_SHAPE_LEFT_OUT = 0.12
_FIRST_WORD = 0.65

_NEAR = 0.36
_CLEARLY_APART = 0.12
_EDGE = 0.36


def word_for(words: Mapping[str, tuple[str, ...]], key: str, rng: np.random.Generator) -> str:
    """The usual word for `key`, or now and then a synonym."""
    if rng.random() < _FIRST_WORD:
        return words[key][0]
    return choose(rng, words[key])


def noun(obj: Object, rng: np.random.Generator) -> str:
    """An object's name without an article, for example "big red star" or "blue thing"."""
    drawn = rng.random(2)
    words = []
    if drawn[0] < _SIZE_NAMED[obj.size]:
        words.append(word_for(SIZE_WORDS, obj.size, rng))
    shapeless = drawn[1] < _SHAPE_LEFT_OUT
    if shapeless or drawn[1] < 1 - _COLOUR_LEFT_OUT:
        words.append(word_for(COLOUR_WORDS, obj.colour, rng))
    words.append(choose(rng, ("shape", "thing")) if shapeless else _shape_word(obj, rng))
    return " ".join(words)


def _shape_word(obj: Object, rng: np.random.Generator) -> str:
    return word_for(SHAPE_WORDS, obj.shape, rng)


def a(words: str) -> str:
    """The words with their indefinite article.

    >>> a("orange star"), a("red star")
    ('an orange star', 'a red star')
    """
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(words: str) -> str:
    """The plural of a noun phrase.

    >>> plural("red box"), plural("plus sign")
    ('red boxes', 'plus signs')
    """
    *before, last = words.split(" ")
    return " ".join([*before, _PLURALS.get(last, f"{last}s")])


def relation(first: Object, second: Object, rng: np.random.Generator) -> str:
    """A true relation of the first object to the second, for example "to the left of"."""
    across, down = first.x - second.x, first.y - second.y
    true = []
    if abs(across) > max(_CLEARLY_APART, abs(down) / 2):
        true.append("left" if across < 0 else "right")
    if abs(down) > max(_CLEARLY_APART, abs(across) / 2):
        true.append("above" if down < 0 else "below")
    if first.distance(second) < _NEAR:
        true.append("near")
    return word_for(RELATION_WORDS, choose(rng, tuple(true)), rng)


def place(obj: Object, rng: np.random.Generator) -> str:
    """Where in the picture the object is, for example "in the top left corner"."""
    column, row = _third(obj.x), _third(obj.y)
    if column != 1 and row != 1:
        corner = f"{('top', '', 'bottom')[row]} {('left', '', 'right')[column]}"
        return choose(rng, (f"in the {corner} corner", f"at the {corner}"))
    if row == 1:
        return choose(rng, _COLUMNS[column])
    return choose(rng, _ROWS[row])


def _third(position: float) -> int:
    """0, 1 or 2: the first, middle or last third of a side."""
    return int(position > _EDGE) + int(position > 1 - _EDGE)
