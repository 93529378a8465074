"""The demo: from picture files to answers, with a small detector and an IMRAM made for it.

    python -m examples.pictures.demo --output demo-output

Runs the commands that a user would type, and shows them: draw pictures, export the detector and the
matcher, verify, index the pictures, search. The page is a single file.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from examples.pictures.make_data import pictures_of
from examples.pictures.train_detector import CHECKPOINT as DETECTOR
from examples.pictures.train_detector import PROPOSALS, SIDE
from examples.shapes.captions import CAPTIONS_PER_PICTURE
from examples.shapes.drawing import PICTURE_SIDE
from examples.shapes.files import write_text
from examples.shapes.make_data import VOCABULARY_NAME
from examples.shapes.phrases import COLOUR_WORDS, SHAPE_WORDS, plural
from examples.shapes.training import CHECKPOINT_NAME
from itr_deploy import Gallery, Hits, Matcher, Retriever, __version__
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.rendering import render

SPLIT = "test"
IMRAM = Path(__file__).parent / "checkpoints" / "imram"

OWN_QUERIES = (
    "a small red circle above a big blue square",
    "three green objects",
    "a yellow star next to a purple ring",
    "a black triangle in the top left corner",
)
CAPTIONS_SHOWN = 8
HITS_SHOWN = 6
HITS_EXPLAINED = 3

NAMES = frozenset(
    word
    for words in (*COLOUR_WORDS.values(), *SHAPE_WORDS.values())
    for name in words
    for word in (name.split()[0], plural(name.split()[0]))
)
"""Words whose regions are shown: they name a colour or a shape."""
COLOURS = 6
"""How many colours the page has for words."""
DEPTHS = (1, 5, 10)


@dataclass(frozen=True)
class World:
    """The pictures that are searched, and what is said of them.

    Attributes:
        pictures: Their folder.
        ids: Names of its files, which are the ids of the gallery.
        captions: Five of each.
    """

    pictures: Path
    ids: list[str]
    captions: list[str]

    @classmethod
    def read(cls, data: Path) -> World:
        """What `make_data` wrote."""
        lines = (data / f"{SPLIT}_{name}.txt" for name in ("ids", "caps"))
        ids, captions = (path.read_text(encoding="utf-8").splitlines() for path in lines)
        return cls(pictures_of(data, SPLIT), [f"{own}.png" for own in ids], captions)

    def of_caption(self, number: int) -> str:
        """The id of a caption's picture."""
        return self.ids[number // CAPTIONS_PER_PICTURE]


@dataclass(frozen=True)
class Word:
    """A piece of a query, and the number of its colour on the page; None for none."""

    text: str
    colour: int | None


@dataclass(frozen=True)
class Matched:
    """The region that a word looked at most.

    Attributes:
        colour: The number of the word's colour.
        box: x, y, width and height in pixels of the picture.
    """

    colour: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Shown:
    """One row of the page.

    Attributes:
        query: Its text, in pieces.
        truth: The picture that it describes, if any.
        hits: The pictures that were found.
        matched: What matched in the first of them, by their ids.
    """

    query: tuple[Word, ...]
    truth: str | None
    hits: Hits
    matched: dict[str, tuple[Matched, ...]]


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    output: Path = parser.parse_args().output
    data, detector, bundle = output / "data", output / "detector", output / "bundle"
    gallery, captions = output / "gallery", output / "captions"
    pictures = pictures_of(data, SPLIT)

    run("-m", "examples.pictures.make_data", "--output", data, "--splits", SPLIT)
    itr_deploy("export", "regions", *DETECTOR_WORDS, "--output", detector, "--force")
    itr_deploy("export", "imram", *IMRAM_WORDS, "--output", bundle, "--force")
    itr_deploy("verify", bundle, *IMRAM_WORDS[:2])
    detected = ("--detector", detector)
    itr_deploy("index", bundle, "--pictures", pictures, *detected, "--output", gallery, "--force")
    itr_deploy("search", bundle, OWN_QUERIES[0], "--gallery", gallery, "-k", "5")

    world = World.read(data)
    index_captions(bundle, captions, world)
    image = ("--image", pictures / world.ids[0])
    itr_deploy("search", bundle, *image, *detected, "--gallery", captions, "-k", "5")

    retriever = Retriever.load(bundle, gallery)
    recalls = recall(retriever, world)
    page = output / "index.html"
    write_text(page, html(shown_queries(retriever, world), recalls, world))
    figures = ", ".join(f"R@{k} {value:.1f}" for k, value in recalls.items())
    print(f"\ntext -> image over {len(world.captions)} captions: {figures}")
    print(f"page: {page}")
    served = ("--gallery", gallery, "--detector", detector, "--pictures", pictures)
    print("serve it with make serve, or:")
    print(typed("serve", bundle, *served))


def shown_path(path: Path) -> str:
    """A path as a user would type it."""
    return os.path.relpath(path)


DETECTOR_WORDS = (
    "--checkpoint",
    shown_path(DETECTOR),
    "--shortest-side",
    str(SIDE),
    "--longest-side",
    str(2 * SIDE),
    "--proposals",
    str(PROPOSALS),
)
IMRAM_WORDS = (
    "--checkpoint",
    shown_path(IMRAM / CHECKPOINT_NAME),
    "--vocab",
    shown_path(IMRAM / VOCABULARY_NAME),
)


def itr_deploy(*words: str | Path) -> None:
    """Run one command of the product as a user would, showing it."""
    shown = typed(*words)
    run("-c", "from itr_deploy.cli.main import main; main()", *words, shown=shown)


def typed(*words: str | Path) -> str:
    """A command of the product as a user would type it."""
    return shlex.join(["itr-deploy", *map(str, words)])


def run(*words: str | Path, shown: str | None = None) -> None:
    """Run Python with these arguments; end with its exit code if it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ {shown or shlex.join(['python', *arguments])}", flush=True)
    finished = subprocess.run([sys.executable, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def index_captions(bundle: Path, output: Path, world: World) -> None:
    """Make a gallery of the captions, which pictures search."""
    matcher = Matcher.load(bundle)
    numbers = range(len(world.captions))
    ids = [f"{world.of_caption(n)}#{n % CAPTIONS_PER_PICTURE}" for n in numbers]
    shutil.rmtree(output, ignore_errors=True)
    gallery = Gallery.create(output, matcher, "text")
    gallery.add(ids, world.captions, {"text": world.captions})


def recall(retriever: Retriever, world: World) -> dict[int, float]:
    """Percentage of captions whose picture is among the first k hits, every picture scored."""
    found = retriever.search(world.captions, k=max(DEPTHS), candidates=None)
    ranks = [_rank(hits.ids, world.of_caption(number)) for number, hits in enumerate(found)]
    return {depth: 100 * float(np.mean(np.array(ranks) < depth)) for depth in DEPTHS}


def _rank(ids: Sequence[str], truth: str) -> int:
    return list(ids).index(truth) if truth in ids else max(DEPTHS)


def shown_queries(retriever: Retriever, world: World) -> list[Shown]:
    """Our own queries, then captions from across the split."""
    places = np.linspace(0, len(world.captions) - 1, CAPTIONS_SHOWN, dtype=int).tolist()
    queries = [*OWN_QUERIES, *(world.captions[place] for place in places)]
    truths = [None] * len(OWN_QUERIES) + [world.of_caption(place) for place in places]
    found = retriever.search(queries, k=HITS_SHOWN)
    return [
        Shown(coloured(query), truth, hits, matched(retriever, query, hits))
        for query, truth, hits in zip(queries, truths, found, strict=True)
    ]


def coloured(query: str) -> tuple[Word, ...]:
    """A query in pieces; each word that names a colour or a shape gets the next colour."""
    numbers = count()
    pieces = re.split(r"(\w+)", query)
    return tuple(
        Word(piece, next(numbers) % COLOURS if piece.lower() in NAMES else None) for piece in pieces
    )


def matched(retriever: Retriever, query: str, hits: Hits) -> dict[str, tuple[Matched, ...]]:
    """In each of the first hits, the region that every coloured word looked at most."""
    found = {}
    for hit in islice(hits, HITS_EXPLAINED):
        told = retriever.explain(query, hit.id)
        assert told.placed is not None, "indexed by a detector"
        named = [place for place, word in enumerate(told.words) if word in NAMES]
        boxes = [told.placed.boxes[told.strongest(place)[0]].tolist() for place in named]
        found[hit.id] = tuple(
            Matched(number % COLOURS, _corner(box)) for number, box in enumerate(boxes)
        )
    return found


def _corner(box: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left, top, right - left, bottom - top


def html(shown: list[Shown], recalls: dict[int, float], world: World) -> str:
    """The page, with its pictures embedded."""
    used = {hit.id for row in shown for hit in row.hits} | {row.truth for row in shown if row.truth}
    files = Pictures(world.pictures, world.ids)
    return render(
        "examples.pictures",
        "demo.html",
        shown=shown,
        recalls=recalls,
        pictures=len(world.ids),
        captions=len(world.captions),
        side=PICTURE_SIDE,
        version=__version__,
        image={
            name: files.data_uri(number) for number, name in enumerate(world.ids) if name in used
        },
    )


if __name__ == "__main__":
    main()
