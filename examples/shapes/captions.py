"""Five captions per scene, each describing part of it in its own way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from examples.shapes.phrases import (
    BACKGROUND_WORDS,
    COLOUR_WORDS,
    SHAPE_WORDS,
    a,
    noun,
    place,
    plural,
    relation,
    word_for,
)
from examples.shapes.scenes import Object, Scene, choose

CAPTIONS_PER_PICTURE = 5

_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
_FULL_STOP = 0.8


def describe(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Five different captions, all true of the scene but seldom complete."""
    captions: list[str] = []
    while len(captions) < CAPTIONS_PER_PICTURE:
        caption = _one_caption(scene, rng)
        if caption not in captions:
            captions.append(caption)
    return captions


def _one_caption(scene: Scene, rng: np.random.Generator) -> str:
    kind = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
    caption = kind(scene, rng)
    ending = "." if rng.random() < _FULL_STOP else ""
    return caption[0].upper() + caption[1:] + ending


def _placed(scene: Scene, rng: np.random.Generator) -> str:
    """One object and where it is."""
    obj = _some(scene, 1, rng)[0]
    opening = choose(rng, ("there is ", "we can see ", "", ""))
    return f"{opening}{a(noun(obj, rng))} {place(obj, rng)}"


def _related(scene: Scene, rng: np.random.Generator) -> str:
    """Two objects and how they lie."""
    first, second = _some(scene, 2, rng)
    verb = choose(rng, (" is", " sits", ""))
    return f"{a(noun(first, rng))}{verb} {relation(first, second, rng)} {a(noun(second, rng))}"


def _listed(scene: Scene, rng: np.random.Generator) -> str:
    """Two to four objects, sometimes with the background."""
    count = int(rng.integers(2, min(4, len(scene.objects)) + 1))
    things = _joined([a(noun(obj, rng)) for obj in _some(scene, count, rng)])
    ending = choose(rng, ("", "", "", f" {_behind(scene, rng)}"))
    return f"{choose(rng, ('', '', 'a picture of ', 'we can see '))}{things}{ending}"


def _counted(scene: Scene, rng: np.random.Generator) -> str:
    """How many objects there are, and one of them."""
    obj = _some(scene, 1, rng)[0]
    number, things = _NUMBERS[len(scene.objects)], choose(rng, ("shapes", "objects", "things"))
    one = a(noun(obj, rng))
    return choose(
        rng,
        (
            f"{number} {things}, one of them {one}",
            f"there are {number} {things}, and {one} is {place(obj, rng)}",
            f"{one} is one of the {number} {things}",
        ),
    )


def _grouped(scene: Scene, rng: np.random.Generator) -> str:
    """Objects that share a shape or a colour, and another one; a list if there are none."""
    groups = _groups(scene, rng)
    if not groups:
        return _listed(scene, rng)
    name, members = groups[int(rng.integers(len(groups)))]
    caption = f"{_NUMBERS[len(members)]} {name}"
    others = [obj for obj in scene.objects if obj not in members]
    if others:
        other = others[int(rng.integers(len(others)))]
        return f"{caption} and {a(noun(other, rng))}"
    return f"{caption} {_behind(scene, rng)}"


def _groups(scene: Scene, rng: np.random.Generator) -> list[tuple[str, list[Object]]]:
    """Every group of two or more that share a shape or a colour, with its plural name."""
    groups = []
    for shape, count in Counter(obj.shape for obj in scene.objects).items():
        if count > 1:
            members = [obj for obj in scene.objects if obj.shape == shape]
            groups.append((plural(word_for(SHAPE_WORDS, shape, rng)), members))
    for colour, count in Counter(obj.colour for obj in scene.objects).items():
        if count > 1:
            members = [obj for obj in scene.objects if obj.colour == colour]
            groups.append((f"{word_for(COLOUR_WORDS, colour, rng)} shapes", members))
    return groups


def _told(scene: Scene, rng: np.random.Generator) -> str:
    """Two sentences: one object and its place, then another next to it."""
    first, second = _some(scene, 2, rng)
    opening = f"{a(noun(first, rng))} is {place(first, rng)}"
    other = a(noun(second, rng))
    return f"{opening}. {other[0].upper()}{other[1:]} is {relation(second, first, rng)} it"


def _chained(scene: Scene, rng: np.random.Generator) -> str:
    """Three objects, each related to the next; two if there are no more."""
    if len(scene.objects) < 3:
        return _related(scene, rng)
    first, second, third = _some(scene, 3, rng)
    start = f"{a(noun(first, rng))} {relation(first, second, rng)} {a(noun(second, rng))}"
    return f"{start}, with {a(noun(third, rng))} {place(third, rng)}"


_KINDS: tuple[Callable[[Scene, np.random.Generator], str], ...] = (
    _placed,
    _related,
    _listed,
    _counted,
    _grouped,
    _told,
    _chained,
)
_SHARES = (0.06, 0.2, 0.3, 0.08, 0.1, 0.12, 0.14)


def _behind(scene: Scene, rng: np.random.Generator) -> str:
    return f"on {a(word_for(BACKGROUND_WORDS, scene.background, rng))} background"


def _some(scene: Scene, count: int, rng: np.random.Generator) -> list[Object]:
    """`count` different objects of the scene, in random order."""
    return [scene.objects[i] for i in rng.permutation(len(scene.objects))[:count]]


def _joined(phrases: list[str]) -> str:
    """Phrases as a list in words; a repeated one becomes "another".

    >>> _joined(["a red star", "a ring", "a ring"])
    'a red star, a ring and another ring'
    """
    said = [
        f"another {phrase.split(' ', 1)[1]}" if phrase in phrases[:i] else phrase
        for i, phrase in enumerate(phrases)
    ]
    return f"{', '.join(said[:-1])} and {said[-1]}"
