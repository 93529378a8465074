"""``itr-deploy verify``: the parity gate again, on a bundle that exists."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.output import print_json, steps


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(path_type=Path),
    help="The checkpoint that the bundle, or its re-ranker, was made from.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest error of a score, on |a-b| / (1+|b|); by default 1e-4 for float32 bundles, "
    "1e-2 for float16, 5e-2 for bfloat16.",
)
@click.option(
    "--storage-tolerance",
    type=click.FloatRange(min=0, min_open=True),
    help="The same for scores over float16 galleries, at least 1e-2.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Directory of real data to rank, random inputs by default.",
)
@click.option("--split", default="test", show_default=True, help="Its split.")
@click.option(
    "--images",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    help="How many of its images, with all their captions.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    bundle: Path,
    checkpoint: Path,
    tolerance: float | None,
    storage_tolerance: float | None,
    data: Path | None,
    split: str,
    images: int,
    as_json: bool,
) -> None:
    """Compare a bundle with its checkpoint in PyTorch.

    Prints the errors, writes them to parity.json in the BUNDLE, and ends with exit code 3 if a
    tolerance is missed.
    """
    with steps(quiet=False) as begin:
        from itr_deploy.deploy.verifying import verify

        report = verify(
            bundle,
            checkpoint=checkpoint,
            tolerance=tolerance,
            storage_tolerance=storage_tolerance,
            data=data,
            split=split,
            images=images,
            progress=begin,
        )
    if as_json:
        print_json(report.to_json())
    else:
        from itr_deploy.cli.parity_table import print_report

        print_report(report)
    if not report.passed:
        from itr_deploy.errors import ParityError
        from itr_deploy.parity.report import missed

        raise ParityError(missed(report, "do not deploy this bundle"))
