"""The matcher's arithmetic against the speed of the machine's matrix products.

    python -m benchmarks.limit [--family imram] [--mode text_IMRAM]

Full published sizes, random weights, captions of 14 words. The products of the deployed form are
counted (2 operations per multiplication and addition), element-wise work is not. The peak is ONNX
Runtime's own product of 4096 x 1024 with 1024 x 1024 weights on the same threads, alternating with
the matcher in one process. ONNX Runtime's profile follows, operator by operator. Prints tables and
writes benchmarks/results/limit.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.matching import RESULTS, exported, random_inputs
from benchmarks.models import MODELS
from itr_deploy import Matcher
from itr_deploy.benchmarking.trace import operators
from itr_deploy.bundle.files import write_json
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.runtime.backends.sessions import open_session

WORDS = 14
ROWS, WIDTH = 4096, 1024
"""Sizes of the product that sets the peak; larger ones were no faster."""


def main() -> None:
    """Measure one configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="imram", choices=tuple(MODELS))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, help="by default every core")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--mode", default="text_IMRAM")
    parser.add_argument("--precompute", default="full", choices=("full", "none"))
    parser.add_argument("--direction", default="i2t", choices=("i2t", "t2i"))
    parser.set_defaults(bert="small")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        report(arguments, measure(arguments, Path(folder)))


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time matcher and peak alternately, then profile the matcher."""
    trained = MODELS[arguments.family](arguments)
    matcher = exported(arguments, trained, folder)
    regions, ids, _ = random_inputs(arguments.images, arguments.texts, trained.deployed.text_length)
    lengths = np.full(arguments.texts, WORDS)
    if trained.deployed.text_length is None:
        ids = np.resize(ids, (arguments.texts, WORDS))
    ids = np.where(ids == 0, 4, ids)
    images, texts = matcher.encode_images(regions), matcher.encode_token_ids(ids, lengths)
    pairs = arguments.images * arguments.texts
    product = _product(arguments.threads)
    sides: dict[str, tuple[Callable[[], object], float]] = {
        "matrix product": (product, 2.0 * ROWS * WIDTH * WIDTH),
        "matcher": (
            lambda: matcher.score(texts=texts, images=images),
            operations(trained, regions, ids, lengths),
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + arguments.rounds):
        for name, (run, _) in sides.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    taken = {name: statistics.median(values) for name, values in seconds.items()}
    rates = {name: sides[name][1] / taken[name] / 1e9 for name in sides}
    return {
        "gflops": rates,
        "share": rates["matcher"] / rates["matrix product"],
        "pairs_per_second": pairs / taken["matcher"],
        "mflop_a_pair": sides["matcher"][1] / pairs / 1e6,
        "operators": profile(arguments, matcher, texts, images, folder / "profile"),
    }


def operations(
    trained: TrainedMatcher, regions: np.ndarray, ids: np.ndarray, lengths: np.ndarray
) -> float:
    """The number of operations in the products for scoring all pairs."""
    deployed = trained.deployed
    counts = torch.from_numpy(lengths)
    with torch.inference_mode():
        images = [t[None] for t in deployed.encode_images(torch.from_numpy(regions))[:-1]]
        texts = [t[None] for t in deployed.encode_texts(torch.from_numpy(ids), counts)[:-1]]
        with FlopCounterMode(display=False) as counter:
            deployed.match_outputs(texts, counts[None], images)
    return float(counter.get_total_flops())


def profile(
    arguments: argparse.Namespace, matcher: Matcher, texts: Any, images: Any, folder: Path
) -> list[dict[str, Any]]:
    """The matcher's operators in ONNX Runtime's profile."""
    profiled = Matcher.load(matcher.bundle.path, threads=arguments.threads)
    folder.mkdir()
    backend: Any = profiled.backend
    backend.profile_into(folder)
    for _ in range(3):
        profiled.score(texts=texts, images=images)
    (file,) = backend.end_profiles().values()
    return operators(json.loads(file.read_bytes()))


def _product(threads: int | None) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.standard_normal((WIDTH, WIDTH), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, WIDTH])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = open_session(model.SerializeToString(), options)
    values = {"x": rng.standard_normal((ROWS, WIDTH), np.float32)}
    return lambda: session.run(None, values)


def report(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print the tables and write the JSON."""
    table = Table(
        title=f"{arguments.family} {arguments.mode}"
        if arguments.family == "imram"
        else arguments.family
    )
    for heading in ("side", "GFLOP/s", "share"):
        table.add_column(heading)
    peak = result["gflops"]["matrix product"]
    for name, rate in result["gflops"].items():
        table.add_row(name, f"{rate:.0f}", f"{rate / peak:.0%}")
    Console().print(table)
    Console().print(
        f"{result['pairs_per_second']:,.0f} pairs/s of {result['mflop_a_pair']:.1f} MFLOP"
    )
    table = Table(title="the matcher's operators")
    for heading in ("operator", "calls", "share"):
        table.add_column(heading)
    for entry in result["operators"][:12]:
        table.add_row(entry["operator"], str(entry["calls"]), f"{entry['share']:.1%}")
    Console().print(table)
    write_json(RESULTS / "limit.json", {"configuration": vars(arguments), **result})


if __name__ == "__main__":
    main()
