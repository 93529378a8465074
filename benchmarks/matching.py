"""Pairs per second of the exported matcher against the model written plainly in PyTorch.

    python benchmarks/matching.py [--family imram] [--images 64] [--texts 32] [--mode text_IMRAM]

Full published sizes (1024-dim embeddings, 2048-dim features, 36 regions), random weights, both
sides timed in turn in one process. Encoding is left out on both sides. Prints a table and writes
benchmarks/results/matching_<family>.json.
"""

from __future__ import annotations

import argparse
import json
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

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.store import read_bundle
from itr_deploy.export.build import Source, build_bundle
from itr_deploy.export.text import nltk_words
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.imram import Imram, ImramConfig, ImramDeployment
from itr_deploy.models.lhsc import Lhsc, LhscConfig, LhscDeployment
from itr_deploy.runtime.matcher import Matcher

RESULTS = Path(__file__).parent / "results"
REGIONS, IMAGE_DIM, EMBED_DIM, SIM_DIM, WORD_DIM, VOCAB = 36, 2048, 1024, 256, 300, 1000
LENGTHS = (8, 21)
"""Caption lengths, drawn evenly; their mean of 14 is that of Flickr30K's captions."""


def main() -> None:
    """Measure one configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="imram", choices=("imram", "lhsc"))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of both sides, by default every core")
    imram = parser.add_argument_group("imram")
    imram.add_argument("--steps", type=int, default=3)
    imram.add_argument(
        "--mode", default="text_IMRAM", choices=("text_IMRAM", "image_IMRAM", "full_IMRAM")
    )
    imram.add_argument("--precompute", default="full", choices=("full", "none"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    report(result)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Build a bundle with random weights, time both sides, compare their scores."""
    torch.manual_seed(0)
    trained = random_lhsc() if arguments.family == "lhsc" else random_imram(arguments)
    matcher = exported(arguments, trained, folder)
    regions, ids, lengths = random_inputs(arguments.images, arguments.texts)
    images = matcher.encode_images(regions)
    texts = matcher.encode_token_ids(ids, lengths)
    plain = plain_matching(trained.plain, regions, ids, lengths)
    sides: dict[str, Callable[[], np.ndarray]] = {
        "plain PyTorch": plain,
        "exported matcher": lambda: matcher.score(texts=texts, images=images),
    }
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
        "ratio": rates["exported matcher"] / rates["plain PyTorch"],
        "largest_error": float(np.abs(scores["exported matcher"] - scores["plain PyTorch"]).max()),
    }


def random_imram(arguments: argparse.Namespace) -> TrainedMatcher:
    """An IMRAM of the published sizes with random weights."""
    config = ImramConfig(
        image_dim=IMAGE_DIM,
        embed_dim=EMBED_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
        mode=arguments.mode,
        steps=arguments.steps,
    )
    model = Imram(config).eval()
    deployed = ImramDeployment(model, arguments.precompute).eval()
    options = {**vars(config), "precompute": arguments.precompute}
    return TrainedMatcher(model, deployed, IMAGE_DIM, VOCAB, options)


def random_lhsc() -> TrainedMatcher:
    """An LHSC of the published sizes with random weights."""
    config = LhscConfig(
        image_dim=IMAGE_DIM,
        embed_dim=EMBED_DIM,
        sim_dim=SIM_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
    )
    model = Lhsc(config).eval()
    return TrainedMatcher(model, LhscDeployment(model).eval(), IMAGE_DIM, VOCAB, vars(config))


def exported(arguments: argparse.Namespace, trained: TrainedMatcher, folder: Path) -> Matcher:
    """The model's bundle, loaded."""
    special = ["<pad>", "<start>", "<end>", "<unk>"]
    words = special + [f"word{number}" for number in range(VOCAB - len(special))]
    vocabulary, weights, root = folder / "words.json", folder / "weights.pt", folder / "bundle"
    vocabulary.write_text(json.dumps({"word2idx": {w: n for n, w in enumerate(words)}}))
    torch.save({}, weights)
    root.mkdir()
    source = Source(arguments.family, weights, trained, nltk_words(vocabulary, VOCAB))
    build_bundle(source, root, opset=20)
    assert read_bundle(root)
    return Matcher.load(root, threads=arguments.threads)


def random_inputs(images: int, texts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions ``[N, 36, 2048]``, token ids and lengths."""
    rng = np.random.default_rng(0)
    regions = rng.standard_normal((images, REGIONS, IMAGE_DIM), dtype=np.float32)
    lengths = rng.integers(*LENGTHS, size=texts)
    ids = rng.integers(4, VOCAB, size=(texts, lengths.max()))
    return regions, ids * (np.arange(ids.shape[1]) < lengths[:, None]), lengths


def plain_matching(
    model: Imram | Lhsc, regions: np.ndarray, ids: np.ndarray, lengths: np.ndarray
) -> Callable[[], np.ndarray]:
    """The published loop over captions, on items that are encoded already."""
    with torch.inference_mode():
        images = model.encode_images(torch.from_numpy(regions))
        words = model.encode_texts(torch.from_numpy(ids), torch.from_numpy(lengths))

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model.match(images, words, torch.from_numpy(lengths)).numpy()

    return run


def report(result: dict[str, object]) -> None:
    """Print the table and write the JSON."""
    configuration: dict[str, object] = result["configuration"]  # type: ignore[assignment]
    table = Table(title=f"matching, {configuration}")
    for heading in ("side", "pairs/s", "ratio"):
        table.add_column(heading)
    rates: dict[str, float] = result["pairs_per_second"]  # type: ignore[assignment]
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / rates['plain PyTorch']:.2f}")
    Console().print(table)
    Console().print(f"largest score error {result['largest_error']:.1e}; {result['backend']}")
    write_json(RESULTS / f"matching_{configuration['family']}.json", result)


if __name__ == "__main__":
    main()
