"""How often what a word attends to is what it names.

    python -m examples.shapes.matched BUNDLE --data build/shapes

A scene knows where its shapes are. For every caption of the test split that names a coloured shape
("a red star") of which the picture has one, the strongest region of the colour's word and that of
the shape's word are compared with the place of that shape. Any bundle will do that can explain.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.shapes.captions import CAPTIONS_PER_PICTURE
from examples.shapes.drawing import PICTURE_SIDE
from examples.shapes.phrases import COLOUR_WORDS, SHAPE_WORDS
from examples.shapes.scenes import Object, Scene, generator, sample_scene
from itr_deploy import InputError, Matcher, Regions
from itr_deploy.bundle.manifest import AttentionStep
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.runtime.explanation import ATTENDS

COLOURS = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
SHAPES = {word: shape for shape, words in SHAPE_WORDS.items() for word in words}
NAMED = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")
SPLIT = "test"

Test = Callable[[NDArray[np.float32], Object], bool]


@dataclass(frozen=True)
class Mention:
    """A coloured shape that a caption names, and of which the picture has one.

    Attributes:
        picture: The picture's number.
        caption: The caption.
        words: The colour's word, and the first of the shape's.
        shape: The shape.
        alone: Whether the caption names no other coloured shape.
    """

    picture: int
    caption: str
    words: tuple[str, str]
    shape: Object
    alone: bool


def mentions(picture: int, scene: Scene, captions: Sequence[str]) -> Iterator[Mention]:
    """The coloured shapes that a picture's captions name, where both words are there once."""
    for caption in captions:
        found, words = NAMED.findall(caption.lower()), re.findall(r"\w+", caption.lower())
        for colour, shape in found:
            own = [
                obj
                for obj in scene.objects
                if (obj.colour, obj.shape) == (COLOURS[colour], SHAPES[shape])
            ]
            pair = colour, shape.split()[0]
            if len(own) == 1 and all(words.count(word) == 1 for word in pair):
                yield Mention(picture, caption, pair, own[0], alone=len(found) == 1)


def overlaps(box: NDArray[np.float32], shape: Object) -> bool:
    """Whether a region and the square around a shape have a part of the picture in common."""
    centre, radius = _centre(shape), shape.radius * PICTURE_SIDE
    return bool((box[:2] < centre + radius).all() and (box[2:] > centre - radius).all())


def holds_its_centre(box: NDArray[np.float32], shape: Object) -> bool:
    """Whether a region holds a shape's centre."""
    return bool((box[:2] <= _centre(shape)).all() and (box[2:] >= _centre(shape)).all())


def _centre(shape: Object) -> NDArray[np.float64]:
    return np.array([shape.x, shape.y]) * PICTURE_SIDE


TESTS: tuple[Test, ...] = (overlaps, holds_its_centre)


def judged(
    matcher: Matcher, image: Regions, mention: Mention, step: AttentionStep
) -> list[list[float]] | None:
    """By test: whether the strongest regions of both words pass, and the share of all regions.

    None where the model closes its gates behind the step, as DIME does, or does not read a word.
    """
    try:
        told = matcher.explain(mention.caption, image, step=step.step, attends=step.attends)
    except InputError:
        return None
    if not set(mention.words) <= set(told.words):
        return None
    assert told.placed is not None
    boxes = told.placed.boxes
    best = [boxes[told.strongest(told.words.index(word))[0]] for word in mention.words]
    return [
        [
            *(float(test(box, mention.shape)) for box in best),
            float(np.mean([test(box, mention.shape) for box in boxes])),
        ]
        for test in TESTS
    ]


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, default=Path("build/shapes"))
    options = parser.parse_args()
    matcher, captions = Matcher.load(options.bundle), read_split(options.data, SPLIT).captions
    images = Regions(
        *(np.load(options.data / f"{SPLIT}_{name}.npy") for name in ("ims", "boxes", "img_sizes"))
    )
    named = [
        mention
        for picture in range(len(images))
        for mention in mentions(
            picture,
            sample_scene(generator(SPLIT, picture, "scene")),
            captions[CAPTIONS_PER_PICTURE * picture :][:CAPTIONS_PER_PICTURE],
        )
    ]
    print(f"{options.bundle}: {len(named)} coloured shapes named in captions of {SPLIT}")
    for step in matcher.explainer.graph().attention or ():
        found = [judged(matcher, images[m.picture : m.picture + 1], m, step) for m in named]
        print(f"\nstep {step.step}: {ATTENDS[step.attends]}")
        for title, some in (("alone in its caption", True), ("every one", False)):
            rows = [row for row, m in zip(found, named, strict=True) if row and m.alone >= some]
            print(f"  {title} ({len(rows)}):")
            if not rows:
                continue
            for test, figures in zip(TESTS, np.array(rows).transpose(1, 2, 0), strict=True):
                colour, shape, chance = figures
                shares = {
                    "the colour's word": colour,
                    "the shape's word": shape,
                    "one of both": np.maximum(colour, shape),
                    "any region": chance,
                }
                said = ", ".join(f"{name} {100 * one.mean():.1f} %" for name, one in shares.items())
                print(f"    {test.__name__.replace('_', ' ')}: {said}")


if __name__ == "__main__":
    main()
