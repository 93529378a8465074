"""Pairs per second of several bundles on the same split, timed in turn in one process.

    python -m benchmarks.bundles bundle/ pruned/ --data DIR --split dev

Ratios are relative to the first bundle. Encoding is not timed. Prints a table and writes
benchmarks/results/bundles.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from itr_deploy.bundle.files import write_json
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.runtime.matcher import Matcher

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure the given bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    split = read_split(arguments.data, arguments.split)
    sides = []
    for bundle in arguments.bundles:
        matcher = Matcher.load(bundle)
        images, texts = matcher.encode_images(split.regions), matcher.encode_texts(split.captions)
        sides.append((matcher, images, texts))
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(arguments.rounds + 1):
        for taken, (matcher, images, texts) in zip(seconds, sides, strict=True):
            start = time.perf_counter()
            matcher.score(texts=texts, images=images)
            taken.append(time.perf_counter() - start)
    pairs = len(split.regions) * len(split.captions)
    # The first round warms up.
    rates = [pairs / statistics.median(taken[1:]) for taken in seconds]
    table = Table(title=f"matching, {arguments.split} split, {pairs:,} pairs")
    for heading in ("bundle", "pairs/s", "ratio"):
        table.add_column(heading)
    for bundle, rate in zip(arguments.bundles, rates, strict=True):
        table.add_row(bundle.name, f"{rate:,.0f}", f"{rate / rates[0]:.2f}")
    Console().print(table)
    found = {str(bundle): rate for bundle, rate in zip(arguments.bundles, rates, strict=True)}
    write_json(RESULTS / "bundles.json", {"pairs": pairs, "pairs_per_second": found})


if __name__ == "__main__":
    main()
