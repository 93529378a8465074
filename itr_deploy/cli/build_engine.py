"""``itr-deploy build-engine``: TensorRT engines out of a bundle's graphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import print_json, print_table, progress_bar
from itr_deploy.errors import UsageError

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Precision
    from itr_deploy.engines.builder import BuiltEngines
    from itr_deploy.engines.builder.build import HardwareCompatibility
    from itr_deploy.engines.builder.bundle import BundleProgress
    from itr_deploy.engines.files import EngineTarget

UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _listed(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Values of an option that may be repeated, or hold several with commas between."""
    return [word.strip() for words in given for word in words.split(",") if word.strip()]


def _sizes(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, int]:
    """``axis=size`` values of a shapes option."""
    sizes = {}
    for word in _listed(context, option, given):
        axis, _, size = word.partition("=")
        if not axis or not size.isdecimal():
            raise UsageError(f"{option.opts[0]} {word}: must be axis=size, such as candidates=500")
        sizes[axis] = int(size)
    return sizes


def _bytes(context: click.Context, option: click.Parameter, given: str | None) -> int | None:
    """Bytes of a size such as ``4GiB``."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d+)\s*([KMG]iB|B|)", given)
    size = int(found[1]) * UNITS[found[2]] if found else 0
    if not size:
        raise UsageError(
            f"{option.opts[0]} {given}: must be a size above 0, such as 512MiB or 4GiB"
        )
    return size


@click.command("build-engine")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Choice(("tensorrt", "tensorrt-rtx")),
    help="Whose engines; by default TensorRT's where it is installed, else RTX's.",
)
@click.option("--fp16", "precision", flag_value="float16", help="The engines must be float16.")
@click.option("--bf16", "precision", flag_value="bfloat16", help="The engines must be bfloat16.")
@click.option("--fp32", "precision", flag_value="float32", help="The engines must be float32.")
@click.option(
    "--graphs",
    multiple=True,
    callback=_listed,
    metavar="NAME,...",
    help="Build these alone; by default every graph but those of int8 galleries.",
)
@click.option(
    "--min-shapes", multiple=True, callback=_sizes, metavar="AXIS=SIZE,...", help="Smallest sizes."
)
@click.option(
    "--opt-shapes",
    multiple=True,
    callback=_sizes,
    metavar="AXIS=SIZE,...",
    help="Sizes that the engines are fastest at.",
)
@click.option(
    "--max-shapes", multiple=True, callback=_sizes, metavar="AXIS=SIZE,...", help="Largest sizes."
)
@click.option(
    "--workspace",
    callback=_bytes,
    metavar="SIZE",
    help="Scratch memory that a layer may take, such as 4GiB; by default all there is.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    help="How long the builder searches; by default the library's.",
)
@click.option(
    "--hardware-compatibility",
    type=click.Choice(("none", "ampere-plus", "same-compute-capability")),
    default="none",
    show_default=True,
    help="Which GPUs run the engines besides those they are built for.",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    callback=_listed,
    metavar="X.Y,...",
    help="GPUs to build for, RTX alone; by default 8.0, 8.6, 8.9 and 12.0.",
)
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of timings to read and add to; RTX times nothing and leaves it alone.",
)
@click.option(
    "--version-compatible", is_flag=True, help="Later versions of the library load them too."
)
@click.option("--force", is_flag=True, help="Build engines again that are up to date.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path,
    target: EngineTarget | None,
    precision: Precision | None,
    graphs: list[str],
    min_shapes: dict[str, int],
    opt_shapes: dict[str, int],
    max_shapes: dict[str, int],
    workspace: int | None,
    optimization_level: int | None,
    hardware_compatibility: HardwareCompatibility,
    capabilities: list[str],
    timing_cache: Path | None,
    version_compatible: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Build TensorRT engines out of BUNDLE's graphs, into BUNDLE/engines/.

    An engine has the precision of its graph: --fp16 asserts it, and the engine's layers are
    inspected to prove it. Engines that are up to date stay. TensorRT for RTX needs no GPU.
    """
    from itr_deploy.deploy.engine_building import build_engine

    with _bars() as progress:
        built = build_engine(
            bundle,
            target=target,
            precision=precision,
            graphs=graphs,
            min_shapes=min_shapes,
            opt_shapes=opt_shapes,
            max_shapes=max_shapes,
            workspace=workspace,
            optimization_level=optimization_level,
            hardware_compatibility=hardware_compatibility,
            compute_capability=capabilities,
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(built.to_json())
    else:
        _print(built, built.target)


@contextmanager
def _bars() -> Iterator[BundleProgress]:
    """A progress bar a graph, on standard error."""
    with progress_bar() as bar:
        tasks = {}

        def show(graph: str, phase: str, done: int, total: int) -> None:
            if graph not in tasks:
                tasks[graph] = bar.add_task(graph)
            bar.update(tasks[graph], description=f"{graph}: {phase}", completed=done, total=total)

        yield show


def _print(built: BuiltEngines, target: EngineTarget) -> None:
    engines = built.directory.record.engines
    rows = []
    for graph, outcome in built.outcomes.items():
        info = engines[graph]
        matrix = ", ".join(f"{count} {kind}" for kind, count in info.matrix_layers.items())
        size, seconds = f"{info.bytes / 1e6:.1f} MB", f"{info.seconds:.1f} s"
        rows.append((graph, str(info.layers), matrix, size, seconds, outcome))
    print_table(
        f"Engines of {target} {built.version}",
        ("graph", "layers", "matrix layers", "size", "built in", ""),
        rows,
    )
    if "built" not in built.outcomes.values():
        click.echo("nothing has changed, nothing was built")
    click.echo(f"engines: {built.directory.path}")
