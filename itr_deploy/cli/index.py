"""``itr-deploy index``: a split's images or captions into a gallery."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.output import item_progress, print_json


@click.command("index")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt.",
)
@click.option("--split", default="test", show_default=True, help="Which split to index.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory of the gallery to make, or with --append to extend.",
)
@click.option(
    "--modality",
    type=click.Choice(("image", "text")),
    default="image",
    show_default=True,
    help="Index the images, or the captions.",
)
@click.option(
    "--storage",
    type=click.Choice(("float16", "float32")),
    default="float16",
    show_default=True,
    help="Type of the stored tensors.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    help="CSV file with a column 'id' and user columns for the gallery.",
)
@click.option("--force", is_flag=True, help="Replace an existing gallery.")
@click.option("--append", is_flag=True, help="Add to an existing gallery.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path,
    data: Path,
    split: str,
    output: Path,
    modality: str,
    storage: str,
    metadata: Path | None,
    force: bool,
    append: bool,
    as_json: bool,
) -> None:
    """Encode a split's images or captions with a BUNDLE into a gallery."""
    if force and append:
        raise click.UsageError("--force replaces a gallery and --append extends it; give one")
    from itr_deploy.cli.indexing import index_split
    from itr_deploy.evaluation.dataset import read_split
    from itr_deploy.runtime import Matcher

    matcher = Matcher.load(bundle)
    read = read_split(data, split)
    total = len(read.image_ids) if modality == "image" else len(read.captions)
    with item_progress(f"indexing {modality}s", total, quiet=False) as progress:
        count = index_split(
            matcher,
            read,
            output,
            modality=modality,  # type: ignore[arg-type]
            storage=storage,  # type: ignore[arg-type]
            metadata=metadata,
            force=force,
            append=append,
            progress=progress,
        )
    if as_json:
        print_json({"gallery": str(output), "modality": modality, "added": total, "items": count})
    else:
        click.echo(f"gallery: {output} ({count} {modality}s)")
