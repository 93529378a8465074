"""``itr-deploy profile-routes``: how much a model uses its routes on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import item_progress, needs_export_half, print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Manifest
    from itr_deploy.models.dime.counter import RouteCounter
    from itr_deploy.models.dime.profile import RouteProfile


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

    Scores all pairs of a split. The bundle's graphs must tell their gates: export it with --gates
    yes. The profile is what export's --prune-routes takes.
    """
    from itr_deploy.bundle.files import write_file
    from itr_deploy.errors import OutputError, UsageError
    from itr_deploy.evaluation.data.split import read_split
    from itr_deploy.evaluation.scores.pairs import observe_pairs
    from itr_deploy.runtime import Matcher

    drawing = output.with_suffix(".svg")
    if drawing == output:
        raise UsageError(f"--output {output} is the picture's name; give the profile another one")
    existing = next((path for path in (output, drawing) if path.exists()), None)
    if existing is not None and not force:
        raise OutputError(f"{existing} exists; give --force to replace it, or another --output")
    read = read_split(data, split).first(images)
    matcher = Matcher.load(bundle)
    manifest = matcher.bundle.manifest
    counter = _counter(bundle, manifest)
    pairs = len(read.image_ids) * len(read.captions)
    with item_progress("profiling pairs", pairs, quiet=False) as progress:
        observe_pairs(matcher, read, counter.add, progress)
    from itr_deploy.bundle.manifest import ProfileEvidence

    evidence = ProfileEvidence(
        checkpoint_sha256=manifest.provenance.checkpoint_sha256,
        data_sha256=read.digest(),
        split=split,
        images=len(read.image_ids),
        captions=len(read.captions),
    )
    profile = counter.profile(evidence, str(data.resolve()))
    write_file(output, profile.model_dump_json(indent=1) + "\n")
    write_file(drawing, profile.picture())
    if as_json:
        print_json(profile.model_dump(mode="json"))
        return
    _print(profile)
    click.echo(f"profile: {output}, picture: {drawing}")


def _counter(path: Path, manifest: Manifest) -> RouteCounter:
    """What counts the routes of this bundle's family.

    Raises:
        InputError: The family has no routes, or the graphs do not tell their gates.
    """
    from itr_deploy.errors import InputError
    from itr_deploy.models.registry import FAMILIES

    entry = {known.name: known for known in FAMILIES}.get(manifest.family)
    if entry is None or entry.profiler is None:
        known = [known.name for known in FAMILIES if known.profiler is not None]
        raise InputError(
            f"{path} is of family {manifest.family}, which has no routes to profile; "
            f"{', '.join(known)} has"
        )
    with needs_export_half():
        counter = entry.profiler()
    told = {output.name for graph in manifest.graphs.values() for output in graph.outputs}
    if not told.issuperset(counter.outputs):
        raise InputError(
            f"{path}: its graphs do not tell their gates; export it again with --gates yes"
        )
    return counter


def _print(profile: RouteProfile) -> None:
    rows = [
        (
            f"{use.layer}",
            use.cell,
            use.path,
            f"{use.zero:.1%}",
            f"{use.mean:.3f}",
            f"{use.share:.3f}",
        )
        for use in profile.routes
    ]
    print_table(
        f"Gates over {profile.pairs:,} pairs",
        ("layer", "cell", "path", "is 0", "mean", "share"),
        rows,
    )
    print_table(
        "Skip connections",
        ("layer", "cell", "path", "taken", "share"),
        (
            (f"{use.layer}", use.cell, use.path, f"{use.used:.1%}", f"{use.share:.3f}")
            for use in profile.skips
        ),
    )
    routes = profile.keeping(0)
    click.echo(
        f"never used: {len(routes.closed())} of {len(profile.routes)} gates, "
        f"cells {', '.join(routes.removed()) or 'none'}"
    )
