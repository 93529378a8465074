"""One text query over a gallery: the cascade against scoring every item.

    python -m benchmarks.cascade [--images 1000] [--widths 200:20 1000:60]

IMRAM at its published sizes (see benchmarks/models.py), random weights. The plain PyTorch model
scores every image, and so does an exhaustive search of a float16 gallery in memory. The cascade
searches the same gallery. All sides encode the text; the images are encoded beforehand. The sides
take turns in one process. A cascade's widths are those of the prefilter's and the matcher's
shortlists; the default cascade is that of a bundle that was not tuned, with a refiner between
them.
Prints a table and writes benchmarks/results/cascade.json.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import IMAGE_DIM, REGIONS, random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.models.imram.plain import Imram

WORDS = 12
"""Words in the query; 14 tokens with start and end, the mean of Flickr30K's captions."""


def main() -> None:
    """Measure one configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--widths", nargs="+", default=["200:20", "400:50", "1000:60"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--mode", default="text_IMRAM", choices=("text_IMRAM", "image_IMRAM", "full_IMRAM")
    )
    parser.set_defaults(family="imram", precompute="full", threads=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    report(result)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Build a bundle with random weights and a gallery, and time every side."""
    torch.manual_seed(0)
    trained = random_imram(arguments)
    matcher = exported(arguments, trained, folder)
    rng = np.random.default_rng(0)
    regions = rng.standard_normal((arguments.images, REGIONS, IMAGE_DIM), dtype=np.float32)
    query = " ".join(f"word{number}" for number in rng.integers(0, 500, WORDS))
    assert isinstance(trained.plain, Imram)
    sides = _sides(arguments, matcher, trained.plain, regions, query, folder)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + arguments.rounds):  # the first round loads graphs and galleries
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    plain = next(iter(medians.values()))
    return {
        "configuration": vars(arguments),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "backend": matcher.backend.description,
        "milliseconds": {name: 1000 * taken for name, taken in medians.items()},
        "ratio": {name: plain / taken for name, taken in medians.items()},
    }


def _sides(
    arguments: argparse.Namespace,
    matcher: Matcher,
    plain: Imram,
    regions: np.ndarray,
    query: str,
    folder: Path,
) -> dict[str, Callable[[], object]]:
    """What is timed, by name; the others are compared with the first."""
    gallery = Gallery.create(folder / "gallery", matcher)
    gallery.add([f"image{number}" for number in range(len(regions))], regions)
    retriever, remembering = (
        Retriever(matcher, gallery, query_budget=0),
        Retriever(matcher, gallery),
    )
    ids, lengths = map(torch.from_numpy, matcher.text.token_ids([query]))
    with torch.inference_mode():
        parts = torch.from_numpy(regions).split(64)
        embedded = torch.cat([plain.encode_images(part) for part in parts])

    def scored_plainly() -> torch.Tensor:
        with torch.inference_mode():
            return plain.match(embedded, plain.encode_texts(ids, lengths), lengths)

    pipeline = matcher.bundle.manifest.pipeline

    def cascade(widths: str) -> Callable[[], object]:
        prefilter, candidates = map(int, widths.split(":"))
        return lambda: retriever.search(query, candidates=candidates, prefilter=prefilter)

    return {
        "plain PyTorch, every image": scored_plainly,
        "matcher, every image": lambda: retriever.search(query, candidates=None),
        f"default cascade, {_default(pipeline)}": lambda: retriever.search(query),
        **{f"cascade {widths}": cascade(widths) for widths in arguments.widths},
        "default, a text asked before": lambda: remembering.search(query),
        "text encoder alone": lambda: matcher.encode_texts([query]),
    }


def _default(pipeline: Pipeline) -> str:
    widths = (pipeline.prefilter, pipeline.refine, pipeline.candidates)
    return ":".join(str(width) for width in widths if width is not None)


def report(result: dict[str, object]) -> None:
    """Print the table and write the JSON."""
    configuration: dict[str, object] = result["configuration"]  # type: ignore[assignment]
    table = Table(title="one text query, {mode}, {images} images".format(**configuration))
    for heading in ("side", "ms", "times as fast"):
        table.add_column(heading)
    ratios: dict[str, float] = result["ratio"]  # type: ignore[assignment]
    times: dict[str, float] = result["milliseconds"]  # type: ignore[assignment]
    for name, taken in times.items():
        table.add_row(name, f"{taken:,.1f}", f"{ratios[name]:,.1f}")
    Console().print(table)
    Console().print(f"medians of {configuration['rounds']} rounds; {result['backend']}")
    write_json(RESULTS / "cascade.json", result)


if __name__ == "__main__":
    main()
