"""``itr-deploy bench``: how fast a bundle searches, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.numbers import Numbers
from itr_deploy.cli.output import print_json, steps

if TYPE_CHECKING:
    from itr_deploy.bundle.modality import Modality


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--gallery", type=click.Path(path_type=Path), help="The gallery to search.")
@click.option(
    "--synthetic",
    type=click.IntRange(min=1),
    metavar="N",
    help="Search a temporary gallery of so many random items of the bundle's sizes instead.",
)
@click.option(
    "--query",
    type=click.Choice(("text", "image")),
    help="What the random queries are; by default what the gallery takes, text for --synthetic.",
)
@click.option(
    "--batch",
    "batches",
    type=Numbers(),
    default="1,8",
    show_default=True,
    help="Queries a search, several numbers with commas between.",
)
@click.option(
    "--candidates",
    "widths",
    type=Numbers(none="all"),
    default=(),
    help="Widths of the shortlist, 'all' for none; the bundle's by default.",
)
@click.option(
    "--prefilter",
    type=click.IntRange(min=1),
    help="Width of the shortlist that the prefilter cuts down to --candidates; the bundle's by "
    "default.",
)
@click.option(
    "--threads",
    type=Numbers(none="all"),
    default="all",
    show_default=True,
    help="Threads that compute on the CPU, 'all' for one a core.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Searches of every setting.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Hits a query.")
@click.option(
    "--resident/--on-disk",
    default=None,
    help="Keep the gallery in memory, or read candidates from disk; by its size by default.",
)
@click.option("--rerank", is_flag=True, help="Re-rank the best hits; needs --bank.")
@click.option(
    "--bank",
    type=click.Path(path_type=Path),
    help="A gallery of the queries' modality, for --rerank.",
)
@click.option(
    "--baseline",
    type=click.Choice(("torch",)),
    help="Also time the plain PyTorch model over as many items, and print the ratio.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The checkpoint for --baseline; of an ensemble one a member, in their order.",
)
@click.option(
    "--trace", is_flag=True, help="Also keep ONNX Runtime's profile and list its operators."
)
@device_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("bench"),
    show_default=True,
    help="Directory of bench.json, bench.svg and the profiles.",
)
@click.option("--force", is_flag=True, help="Replace an earlier benchmark.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    bundle: Path,
    gallery: Path | None,
    synthetic: int | None,
    query: Modality | None,
    batches: tuple[int, ...],
    widths: tuple[int | None, ...],
    prefilter: int | None,
    threads: tuple[int | None, ...],
    rounds: int,
    k: int,
    resident: bool | None,
    rerank: bool,
    bank: Path | None,
    baseline: str | None,
    checkpoints: tuple[Path, ...],
    trace: bool,
    device: str,
    backend: str,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Search with a BUNDLE and measure every stage: from encoding to re-ranking."""
    if rerank != (bank is not None):
        raise click.UsageError("--rerank and --bank go together")
    if (baseline is None) != (not checkpoints):
        raise click.UsageError("--baseline torch and --checkpoint go together")
    from itr_deploy.benchmarking.benchmark import PICTURE, REPORT
    from itr_deploy.cli.bench_table import print_benchmark
    from itr_deploy.deploy.benching import bench

    with steps(quiet=as_json) as begin:
        report = bench(
            bundle,
            gallery=gallery,
            synthetic=synthetic,
            query=query,
            batch=batches,
            candidates=widths,
            prefilter=prefilter,
            threads=threads,
            rounds=rounds,
            k=k,
            resident=resident,
            bank=bank,
            checkpoints=checkpoints,
            trace=trace,
            output=output,
            force=force,
            device=device,
            backend=backend,
            progress=begin,
        )
    if as_json:
        print_json(report)
        return
    print_benchmark(report)
    click.echo(f"report: {output / REPORT}, {output / PICTURE}")
