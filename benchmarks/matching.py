"""Pairs per second of the exported matcher against the plain PyTorch model.

    python -m benchmarks.matching [--family imram] [--images 64] [--texts 32] [--mode text_IMRAM]
        [--module SAF] [--quantize int8] [--storages float16,int8]

Full published sizes (see benchmarks/models.py), random weights, all sides timed in turn in one
process. Encoding is not timed on any side. Prints a table and writes
benchmarks/results/matching_<family>.json.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.models import IMAGE_DIM, MODELS, REGIONS, VOCAB, random_vocabulary
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Quantization
from itr_deploy.bundle.store import read_bundle
from itr_deploy.exporters.build import Source, build_bundle
from itr_deploy.exporters.ensemble import build_ensemble
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.plain import Dime
from itr_deploy.runtime.matcher import Matcher

RESULTS = Path(__file__).parent / "results"
LENGTHS = (8, 21)
"""Caption lengths, drawn uniformly; their mean of 14 is that of Flickr30K's captions."""


def main() -> None:
    """Measure one configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="imram", choices=tuple(MODELS))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of every side, by default every core")
    parser.add_argument("--quantize", choices=("int8",), help="measure this too, beside float32")
    parser.add_argument(
        "--storages",
        type=lambda words: words.split(","),
        default=[],
        help="measure galleries of these types too, such as float16,int8",
    )
    imram = parser.add_argument_group("imram")
    imram.add_argument("--steps", type=int, default=3)
    imram.add_argument(
        "--mode", default="text_IMRAM", choices=("text_IMRAM", "image_IMRAM", "full_IMRAM")
    )
    imram.add_argument("--precompute", default="full", choices=("full", "none"))
    parser.add_argument(
        "--direction",
        default="i2t",
        choices=("i2t", "t2i", "both"),
        help="of dime and scan; both: the mean of their scores, the published result",
    )
    dime = parser.add_argument_group("dime")
    dime.add_argument("--bert", default="small", choices=("small", "base"))
    sgraf = parser.add_argument_group("sgraf")
    sgraf.add_argument("--module", default="SAF", choices=("SAF", "SGR"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    report(result)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Build bundles with random weights, time all sides, compare their scores."""
    torch.manual_seed(0)
    members = _members(arguments)
    matcher = _joined(arguments, members, folder / "float32")
    width = members[0].deployed.text_length
    regions, ids, lengths = random_inputs(arguments.images, arguments.texts, width)
    images = matcher.encode_images(regions)
    texts = matcher.encode_token_ids(ids, lengths)
    plain = [plain_matching(trained.plain, regions, ids, lengths) for trained in members]
    sides: dict[str, Callable[[], np.ndarray]] = {
        "plain PyTorch": lambda: np.mean([score() for score in plain], axis=0),
        "exported matcher": lambda: matcher.score(texts=texts, images=images),
    }
    if arguments.quantize:
        other = _joined(arguments, members, folder / "quantised", arguments.quantize)
        sides[f"exported, {arguments.quantize}"] = lambda: other.score(texts=texts, images=images)
    for storage in arguments.storages:
        sides[f"exported, {storage} gallery"] = partial(
            matcher.score, texts=texts, images=images.stored_as(storage)
        )
    scores = {name: run() for name, run in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    pairs = arguments.images * arguments.texts
    rates = {name: pairs / statistics.median(values) for name, values in seconds.items()}
    return {
        "configuration": {**vars(arguments), "mean_length": float(lengths.mean())},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "backend": matcher.backend.description,
        "pairs_per_second": rates,
        "ratio": {name: rate / rates["plain PyTorch"] for name, rate in rates.items()},
        "largest_error": {
            name: float(np.abs(found - scores["plain PyTorch"]).max())
            for name, found in scores.items()
        },
    }


def _members(arguments: argparse.Namespace) -> list[TrainedMatcher]:
    """The models whose mean is measured; just one, except for both directions of DIME or SCAN."""
    if arguments.family not in ("dime", "scan") or arguments.direction != "both":
        return [MODELS[arguments.family](arguments)]
    one_way = (
        argparse.Namespace(**{**vars(arguments), "direction": way}) for way in ("i2t", "t2i")
    )
    return [MODELS[arguments.family](way) for way in one_way]


def _joined(
    arguments: argparse.Namespace,
    members: list[TrainedMatcher],
    folder: Path,
    quantization: Quantization | None = None,
) -> Matcher:
    """The bundle of one model, or the ensemble of several, loaded."""
    matchers = [
        exported(arguments, trained, folder / str(number), quantization)
        for number, trained in enumerate(members)
    ]
    if len(matchers) == 1:
        return matchers[0]
    root = folder / "ensemble"
    root.mkdir()
    build_ensemble([m.bundle for m in matchers], (1.0,) * len(matchers), root)
    return Matcher.load(root, threads=arguments.threads)


def exported(
    arguments: argparse.Namespace,
    trained: TrainedMatcher,
    folder: Path,
    quantization: Quantization | None = None,
) -> Matcher:
    """The model's bundle, loaded."""
    weights, root = folder / "weights.pt", folder / "bundle"
    root.mkdir(parents=True)
    torch.save({}, weights)
    text = random_vocabulary(arguments.family, folder)
    source = Source(arguments.family, weights, trained, text)
    build_bundle(source, root, opset=20, quantization=quantization)
    assert read_bundle(root)
    return Matcher.load(root, threads=arguments.threads)


def random_inputs(
    images: int, texts: int, width: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions ``[N, 36, 2048]``, token ids and lengths, padded to ``width`` if that is given."""
    rng = np.random.default_rng(0)
    regions = rng.standard_normal((images, REGIONS, IMAGE_DIM), dtype=np.float32)
    lengths = rng.integers(*LENGTHS, size=texts)
    ids = rng.integers(4, VOCAB, size=(texts, width or lengths.max()))
    return regions, ids * (np.arange(ids.shape[1]) < lengths[:, None]), lengths


def plain_matching(
    model: Any, regions: np.ndarray, ids: np.ndarray, lengths: np.ndarray
) -> Callable[[], np.ndarray]:
    """The published loop over captions, on already encoded items."""
    counts = torch.from_numpy(lengths)
    with torch.inference_mode():
        images = model.encode_images(torch.from_numpy(regions))
        texts = model.encode_texts(torch.from_numpy(ids), counts)
    # DIME's texts know their lengths, and it returns its gates along with the scores.
    arguments = (images, texts) if isinstance(model, Dime) else (images, texts, counts)

    def run() -> np.ndarray:
        with torch.inference_mode():
            scores = model.match(*arguments)
            return (scores[0] if isinstance(scores, tuple) else scores).numpy()

    return run


def report(result: dict[str, object]) -> None:
    """Print the table and write the JSON."""
    configuration: dict[str, object] = result["configuration"]  # type: ignore[assignment]
    table = Table(title=f"matching, {configuration}")
    for heading in ("side", "pairs/s", "ratio", "largest score error"):
        table.add_column(heading)
    rates: dict[str, float] = result["pairs_per_second"]  # type: ignore[assignment]
    ratios: dict[str, float] = result["ratio"]  # type: ignore[assignment]
    errors: dict[str, float] = result["largest_error"]  # type: ignore[assignment]
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{ratios[name]:.2f}", f"{errors[name]:.1e}")
    Console().print(table)
    Console().print(str(result["backend"]))
    write_json(RESULTS / f"matching_{configuration['family']}.json", result)


if __name__ == "__main__":
    main()
