"""The demo: export the trained IMRAM, verify it, index the test pictures, search, write a page.

    python -m examples.shapes.demo --output demo-output

Runs the commands that a user would type, and shows them. The page is a single file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.shapes.files import write_text
from itr_deploy import Hits, Retriever, __version__
from itr_deploy.evaluation.data.split import Split, read_split
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.rendering import render

HERE = Path(os.path.relpath(Path(__file__).parent))
CHECKPOINT = HERE / "checkpoints" / "imram" / "model_best.pth.tar"
VOCABULARY = HERE / "checkpoints" / "imram" / "shapes_vocab.json"

OWN_QUERIES = (
    "a small red circle above a big blue square",
    "three green objects",
    "a yellow star next to a purple ring",
    "a black triangle in the top left corner",
)
CAPTIONS_SHOWN = 8
HITS_SHOWN = 6
DEPTHS = (1, 5, 10)


@dataclass(frozen=True)
class Shown:
    """One row of the page: a query, the picture it describes, if any, and its hits."""

    query: str
    truth: str | None
    hits: Hits


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    output: Path = parser.parse_args().output
    data, bundle, gallery = output / "data", output / "bundle", output / "gallery"

    run("-m", "examples.shapes.make_data", "--output", data, "--splits", "test")
    itr_deploy(
        "export",
        "imram",
        "--checkpoint",
        CHECKPOINT,
        "--vocab",
        VOCABULARY,
        "--output",
        bundle,
        "--force",
    )
    itr_deploy("verify", bundle, "--checkpoint", CHECKPOINT, "--data", data, "--split", "test")
    itr_deploy("index", bundle, "--data", data, "--split", "test", "--output", gallery, "--force")
    itr_deploy("search", bundle, OWN_QUERIES[0], "--gallery", gallery, "-k", "5")

    split = read_split(data, "test")
    retriever = Retriever.load(bundle, gallery)
    recalls = recall(retriever, split)
    page = output / "index.html"
    write_text(page, html(shown_queries(retriever, split), recalls, split, data / "pictures"))
    figures = ", ".join(f"R@{k} {value:.1f}" for k, value in recalls.items())
    print(f"\ntext -> image over {len(split.captions)} captions: {figures}")
    print(f"page: {page}")


def itr_deploy(*words: str | Path) -> None:
    """Run one command of the product as a user would, showing it."""
    shown = shlex.join(["itr-deploy", *map(str, words)])
    run("-c", "from itr_deploy.cli.main import main; main()", *words, shown=shown)


def run(*words: str | Path, shown: str | None = None) -> None:
    """Run Python with these arguments; end with its exit code if it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ {shown or shlex.join(['python', *arguments])}", flush=True)
    finished = subprocess.run([sys.executable, *arguments], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def recall(retriever: Retriever, split: Split) -> dict[int, float]:
    """Percentage of captions whose picture is among the first k hits, every picture scored."""
    found = retriever.search(split.captions, k=max(DEPTHS), candidates=None)
    ranks = [
        hits.ids.index(truth) if truth in hits.ids else max(DEPTHS)
        for hits, truth in zip(found, split.image_of_caption, strict=True)
    ]
    return {depth: 100 * float(np.mean(np.array(ranks) < depth)) for depth in DEPTHS}


def shown_queries(retriever: Retriever, split: Split) -> list[Shown]:
    """Our own queries, then captions from across the split."""
    places = np.linspace(0, len(split.captions) - 1, CAPTIONS_SHOWN, dtype=int)
    queries = [*OWN_QUERIES, *(split.captions[place] for place in places)]
    truths = [None] * len(OWN_QUERIES) + [split.image_of_caption[place] for place in places]
    found = retriever.search(queries, k=HITS_SHOWN)
    return [Shown(*row) for row in zip(queries, truths, found, strict=True)]


def html(shown: list[Shown], recalls: dict[int, float], split: Split, pictures: Path) -> str:
    """The page, with its pictures embedded."""
    used = {hit.id for row in shown for hit in row.hits} | {row.truth for row in shown if row.truth}
    files = Pictures(pictures, split.image_ids)
    return render(
        "examples.shapes",
        "demo.html",
        shown=shown,
        recalls=recalls,
        pictures=len(split.image_ids),
        captions=len(split.captions),
        version=__version__,
        image={
            name: files.data_uri(number)
            for number, name in enumerate(split.image_ids)
            if name in used
        },
    )


if __name__ == "__main__":
    main()
