"""``itr-deploy bench``: how fast a bundle searches, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.bundle.modality import Modality
from itr_deploy.cli.options import (
    Backend,
    Baseline,
    Bundle,
    Checkpoints,
    Device,
    FollowLinks,
    Force,
    Json,
    LogFormat,
    Quiet,
    Verbose,
    check_baseline,
)
from itr_deploy.cli.output import print_json
from itr_deploy.cli.parsers import numbers
from itr_deploy.cli.progress import steps
from itr_deploy.errors import UsageError

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    bundle: Bundle,
    *,
    gallery: Annotated[Path | None, typer.Option(help="The gallery to search.")] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Search a temporary gallery of so many random items of the bundle's sizes "
            "instead.",
        ),
    ] = None,
    query: Annotated[
        Modality | None,
        typer.Option(
            help="What the random queries are; by default what the gallery takes, text for "
            "--synthetic."
        ),
    ] = None,
    batch: Annotated[
        Sequence[int],
        typer.Option(
            parser=numbers(),
            metavar="N,...",
            help="Queries a search, several numbers with commas between.",
        ),
    ] = (1, 8),
    candidates: Annotated[
        Sequence[int | None],
        typer.Option(
            parser=numbers(none="all"),
            metavar="N,...",
            show_default=False,
            help="Widths of the shortlist, 'all' for none; the bundle's by default.",
        ),
    ] = (),
    prefilter: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Width of the shortlist that the prefilter cuts down to --candidates; the "
            "bundle's by default.",
        ),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Width of the shortlist that the refiner cuts down to --candidates; the bundle's "
            "by default, and none where --candidates is given.",
        ),
    ] = None,
    threads: Annotated[
        Sequence[int | None],
        typer.Option(
            parser=numbers(none="all"),
            metavar="N,...",
            show_default="all",
            help="Threads that compute on the CPU, 'all' for one a core.",
        ),
    ] = (None,),
    rounds: Annotated[int, typer.Option(min=1, help="Searches of every setting.")] = 20,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per query.")] = 10,
    resident: Annotated[
        bool | None,
        typer.Option(
            "--resident/--on-disk",
            help="Keep the gallery in memory, or read candidates from disk; by its size by "
            "default.",
        ),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Re-rank the best hits; needs --bank.")
    ] = False,
    bank: Annotated[
        Path | None, typer.Option(help="A gallery of the queries' modality, for --rerank.")
    ] = None,
    baseline: Baseline = None,
    checkpoints: Checkpoints = None,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Also keep ONNX Runtime's profile and list its operators."),
    ] = False,
    output: Annotated[
        Path, typer.Option(help="Directory of bench.json, bench.svg and the profiles.")
    ] = Path("bench"),
    force: Force = False,
    device: Device = "cpu",
    backend: Backend = "auto",
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Search with a BUNDLE and measure every stage: from encoding to re-ranking."""
    if rerank != (bank is not None):
        raise UsageError("--rerank and --bank go together; give both or none")
    check_baseline(baseline, checkpoints)
    with steps() as begin:
        report = itr_deploy.bench(
            bundle,
            gallery=gallery,
            synthetic=synthetic,
            query=query,
            batch=batch,
            candidates=candidates,
            prefilter=prefilter,
            refine=refine,
            threads=threads,
            rounds=rounds,
            k=k,
            resident=resident,
            bank=bank,
            checkpoints=checkpoints or (),
            trace=trace,
            output=output,
            force=force,
            device=device,
            backend=backend,
            progress=begin,
        )
    if as_json:
        print_json(report.model_dump())
        return
    from itr_deploy.benchmarking.benchmark import PICTURE, REPORT
    from itr_deploy.cli.bench_table import print_benchmark

    print_benchmark(report)
    typer.echo(f"report: {output / REPORT}, {output / PICTURE}")
