"""Recall of bundles over galleries of every storage type, and the bytes per item of each.

    python -m benchmarks.storage imram/ lhsc/ --data DIR --split test

In each direction the gallery is what is stored: the images when captions are the queries, the
captions when images are. Prints a table per bundle and writes benchmarks/results/storage.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.evaluation.data.split import Split, read_split
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.matcher import Matcher

RESULTS = Path(__file__).parent / "results"
STORAGES: tuple[StorageType, ...] = ("float32", "float16", "int8")


def main() -> None:
    """Measure the given bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    arguments = parser.parse_args()
    split = read_split(arguments.data, arguments.split)
    found = {}
    for bundle in arguments.bundles:
        rows = found[str(bundle)] = list(measure(bundle, split, arguments.storages))
        table = Table(title=f"{bundle.name}, {split.name} split, R@1/5/10")
        for heading in rows[0]:
            table.add_column(heading)
        for row in rows:
            table.add_row(*row.values())
        Console().print(table)
    write_json(RESULTS / "storage.json", found)


def measure(
    bundle: Path, split: Split, storages: Sequence[StorageType]
) -> Iterator[dict[str, str]]:
    """One row per storage type."""
    matcher = Matcher.load(bundle)
    images, texts = matcher.encode_images(split.regions), matcher.encode_texts(split.captions)
    for storage in storages:
        stored = images.stored_as(storage), texts.stored_as(storage)
        to_images = matcher.scorer.score_all(texts, stored[0]).T
        to_texts = matcher.scorer.score_all(images, stored[1])
        answers = split.answers
        by_text = ranks(to_images, answers).text_to_image
        both = replace(ranks(to_texts, answers), text_to_image=by_text)
        found = recall(both)
        yield {
            "storage": storage,
            "text to image": " / ".join(f"{value:.1f}" for value in found.text_to_image.recalls),
            "image to text": " / ".join(f"{value:.1f}" for value in found.image_to_text.recalls),
            "bytes an image": f"{item_bytes(stored[0]):,.0f}",
            "bytes a caption": f"{item_bytes(stored[1]):,.0f}",
        }


def item_bytes(items: Encoded) -> float:
    """Mean bytes of an item's tensors, including the padding within its block."""
    held = sum(array.nbytes for block in items.blocks for array in block.tensors.values())
    return held / len(items)


if __name__ == "__main__":
    main()
