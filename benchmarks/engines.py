"""Build time, size and layers of the engines of bundles, built here one after the other.

    python -m benchmarks.engines bundle/ half/ --target tensorrt-rtx

Engines that are there are built again. Prints a table and writes benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.store import read_bundle
from itr_deploy.export.engines import BuildRequest, build_engines

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Build the engines of the bundles named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--target", choices=("tensorrt", "tensorrt-rtx"), default="tensorrt-rtx")
    arguments = parser.parse_args()
    table = Table(title=f"engines, {arguments.target}")
    for heading in ("bundle", "precision", "graph", "layers", "half", "float32", "MB", "seconds"):
        table.add_column(heading)
    found = {}
    for path in arguments.bundles:
        bundle = read_bundle(path)
        built = build_engines(bundle, BuildRequest(arguments.target, force=True), lambda *_: None)
        found[str(path)] = built.to_json()
        for graph, info in built.directory.record.engines.items():
            counts = dict(info.matrix_layers)
            single = counts.pop("float32", 0)
            table.add_row(
                path.name,
                bundle.manifest.precision,
                graph,
                str(info.layers),
                str(sum(counts.values())),
                str(single),
                f"{info.bytes / 1e6:.1f}",
                f"{info.seconds:.1f}",
            )
    Console().print(table)
    write_json(RESULTS / "engines.json", {"target": arguments.target, "bundles": found})


if __name__ == "__main__":
    main()
