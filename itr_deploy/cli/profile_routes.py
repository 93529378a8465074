"""``itr-deploy profile-routes``: how much a model uses its routes on real data."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.output import counted, print_json, print_table


@click.command("profile-routes")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory with {split}_ims.npy or _feat.npy, and _caps.txt.",
)
@click.option("--split", default="dev", show_default=True, help="Which split to profile.")
@click.option(
    "--images", type=click.IntRange(min=1), help="How many of its images, with all their captions."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("routes.json"),
    show_default=True,
    help="The profile to write; the picture lies beside it, with the ending .svg.",
)
@click.option("--force", is_flag=True, help="Replace an existing profile.")
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
def command(
    bundle: Path,
    data: Path,
    split: str,
    images: int | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Count how much the model of BUNDLE uses its routes.

    Scores all pairs of a split. Where the bundle's graphs do not give what is counted, the error
    says how to export them; the profile is what an export of the family prunes by.
    """
    from itr_deploy.deploy.profiling import profile_routes

    with counted("profiling pairs") as progress:
        profile = profile_routes(
            bundle,
            data=data,
            split=split,
            images=images,
            output=output,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(profile.model_dump(mode="json"))
        return
    for table in profile.tables():
        print_table(table.title, table.columns, table.rows)
    click.echo(profile.summary())
    click.echo(f"profile: {output}, picture: {output.with_suffix('.svg')}")
