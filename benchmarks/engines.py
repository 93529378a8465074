"""Build time, size and layers of engines, built one after the other.

    python -m benchmarks.engines bundle/ half/ --target tensorrt-rtx
    python -m benchmarks.engines --published --target tensorrt-rtx

Existing engines are built again. ``--published`` takes every family at its published sizes, with
random weights, in float32 and float16. Prints a table and writes
benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from benchmarks.published import MATCHERS, published_bundle
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.engines.builder import BuildRequest, BuiltEngines, build_engines
from itr_deploy.engines.files import EngineTarget

RESULTS = Path(__file__).parent / "results"
PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
COLUMNS = ("bundle", "precision", "graph", "layers", "half", "float32", "MB", "seconds")


def main() -> None:
    """Build the engines of the given bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--target", choices=get_args(EngineTarget), default="tensorrt-rtx")
    parser.add_argument(
        "--published",
        nargs="*",
        choices=MATCHERS,
        help="families at their published sizes, all of them unless named",
    )
    arguments = parser.parse_args()
    names = list(MATCHERS) if arguments.published == [] else arguments.published or []
    table = Table(*COLUMNS, title=f"engines, {arguments.target}")
    found = {}
    for path in arguments.bundles:
        found[path.name] = build(read_bundle(path), path.name, arguments.target, table)
    for name in names:
        for precision in PRECISIONS:
            with published(name, precision) as bundle:
                place = f"{name}, {precision}"
                found[place] = build(bundle, name, arguments.target, table)
    Console().print(table)
    write_json(RESULTS / "engines.json", {"target": arguments.target, "bundles": found})


@contextmanager
def published(name: str, precision: Precision) -> Iterator[Bundle]:
    """A bundle of published sizes that exists while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield published_bundle(name, precision, Path(folder))


def build(bundle: Bundle, name: str, target: EngineTarget, table: Table) -> dict[str, object]:
    """Build a bundle's engines, and add a row for each."""
    built = build_engines(bundle, BuildRequest(target, force=True), lambda *_: None)
    for row in rows(built):
        table.add_row(name, bundle.manifest.precision, *row)
    return built.to_json()["engines"]


def rows(built: BuiltEngines) -> Iterator[tuple[str, ...]]:
    """Per graph: its layers, half-precision and float32 matrix layers, megabytes and seconds."""
    for graph, info in built.directory.record.engines.items():
        counts = dict(info.matrix_layers)
        single = counts.pop("float32", 0)
        figures = (str(info.layers), str(sum(counts.values())), str(single))
        yield graph, *figures, f"{info.bytes / 1e6:.1f}", f"{info.seconds:.1f}"


if __name__ == "__main__":
    main()
