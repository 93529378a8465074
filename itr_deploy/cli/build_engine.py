"""``itr-deploy build-engine``: TensorRT engines from a bundle's graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Bundle,
    EngineTarget,
    FollowLinks,
    Json,
    LogFormat,
    Precision,
    Quiet,
    Verbose,
)
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.cli.parsers import axis_sizes, byte_size, words
from itr_deploy.cli.progress import graph_bars
from itr_deploy.errors import UsageError

if TYPE_CHECKING:
    from itr_deploy.engines.builder import BuiltEngines

HardwareCompatibility = Literal["none", "ampere-plus", "same-compute-capability"]
PRECISION_PANEL, SHAPES_PANEL = "Precision that the engines must have", "Shapes"

app = typer.Typer(add_completion=False)


@app.command()
def build_engine(
    bundle: Bundle,
    *,
    target: Annotated[
        EngineTarget | None,
        typer.Option(
            help="Whose engines; by default TensorRT's where it is installed, else RTX's."
        ),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="float16.", rich_help_panel=PRECISION_PANEL)
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="bfloat16.", rich_help_panel=PRECISION_PANEL)
    ] = False,
    fp32: Annotated[
        bool, typer.Option("--fp32", help="float32.", rich_help_panel=PRECISION_PANEL)
    ] = False,
    graphs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            help="Build these alone; by default every graph but those of int8 galleries.",
        ),
    ] = None,
    min_shapes: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=SIZE,...", help="Smallest sizes.", rich_help_panel=SHAPES_PANEL),
    ] = None,
    opt_shapes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=SIZE,...",
            help="Sizes that the engines are fastest at.",
            rich_help_panel=SHAPES_PANEL,
        ),
    ] = None,
    max_shapes: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=SIZE,...", help="Largest sizes.", rich_help_panel=SHAPES_PANEL),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(
            parser=byte_size,
            metavar="SIZE",
            help="Scratch memory that a layer may take, such as 4GiB; by default all there is.",
        ),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="How long the builder searches; by default the library's."),
    ] = None,
    hardware_compatibility: Annotated[
        HardwareCompatibility,
        typer.Option(help="Which GPUs run the engines besides those they are built for."),
    ] = "none",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X.Y,...",
            help="GPUs to build for, RTX alone; by default 8.0, 8.6, 8.9 and 12.0.",
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="File of timings to read and add to; RTX times nothing and leaves it alone.",
        ),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="Later versions of the library load them too."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Build engines again that are up to date.")
    ] = False,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Build TensorRT engines out of BUNDLE's graphs, into BUNDLE/engines/.

    An engine has the precision of its graph: --fp16 asserts it, and the engine's layers are
    inspected to prove it. Engines that are up to date stay. TensorRT for RTX needs no GPU.
    """
    with graph_bars() as progress:
        built = itr_deploy.build_engine(
            bundle,
            target=target,
            precision=_precision(fp16, bf16, fp32),
            graphs=words(graphs),
            min_shapes=axis_sizes("--min-shapes", min_shapes),
            opt_shapes=axis_sizes("--opt-shapes", opt_shapes),
            max_shapes=axis_sizes("--max-shapes", max_shapes),
            workspace=workspace,
            optimization_level=optimization_level,
            hardware_compatibility=hardware_compatibility,
            compute_capability=words(compute_capability),
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(built.to_json())
    else:
        _print(built)


def _precision(fp16: bool, bf16: bool, fp32: bool) -> Precision | None:
    """The precision that was asked for.

    Raises:
        UsageError: More than one was asked for.
    """
    flags: dict[Precision, bool] = {"float16": fp16, "bfloat16": bf16, "float32": fp32}
    asked = [precision for precision, given in flags.items() if given]
    if len(asked) > 1:
        raise UsageError("--fp16, --bf16 and --fp32 exclude each other; give one")
    return asked[0] if asked else None


def _print(built: BuiltEngines) -> None:
    engines = built.directory.record.engines
    rows = []
    for graph, outcome in built.outcomes.items():
        info = engines[graph]
        matrix = ", ".join(f"{count} {kind}" for kind, count in info.matrix_layers.items())
        size, seconds = f"{info.bytes / 1e6:.1f} MB", f"{info.seconds:.1f} s"
        rows.append((graph, str(info.layers), matrix, size, seconds, outcome))
    print_table(
        f"Engines of {built.target} {built.version}",
        ("graph", "layers", "matrix layers", "size", "built in", ""),
        rows,
    )
    if "built" not in built.outcomes.values():
        typer.echo("nothing has changed, nothing was built")
    typer.echo(f"engines: {built.directory.path}")
