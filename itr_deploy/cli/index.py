"""``itr-deploy index``: a split's images or captions into a gallery."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import item_progress, print_json


@click.command("index")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt. Not needed with "
    "--bank or --coarse-index where the gallery is there already.",
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
    type=click.Choice(("float16", "float32", "int8")),
    default="float16",
    show_default=True,
    help="Type of the stored tensors; int8 has a scale a vector and takes half of float16's space.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    help="CSV file with a column 'id' and user columns for the gallery.",
)
@click.option(
    "--bank",
    type=click.Path(path_type=Path),
    help="A gallery of the other modality: keep with the gallery what re-ranking it with this "
    "bank needs, every item's best bank items and, where they fit, all scores.",
)
@click.option(
    "--phi-limit",
    type=click.IntRange(min=0),
    default=1024,
    show_default=True,
    help="Megabytes that all scores of gallery and bank may take; with more, only every item's "
    "best bank items are kept, taken from the bundle's shortlist.",
)
@click.option(
    "--coarse-index/--no-coarse-index",
    default=None,
    help="Build the index of the coarse embeddings, for galleries too large to keep them in "
    "memory; by default from 500,000 items on.",
)
@device_options
@click.option("--force", is_flag=True, help="Replace an existing gallery.")
@click.option("--append", is_flag=True, help="Add to an existing gallery.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path,
    data: Path | None,
    split: str,
    output: Path,
    modality: str,
    storage: str,
    metadata: Path | None,
    bank: Path | None,
    phi_limit: int,
    coarse_index: bool | None,
    device: str,
    backend: str,
    force: bool,
    append: bool,
    as_json: bool,
) -> None:
    """Encode a split's images or captions with a BUNDLE into a gallery.

    With --bank, also score the gallery with a bank, so that searches that re-rank need not. What
    is kept fits the gallery and the bank as they are: run it again when either has changed.
    """
    if force and append:
        raise click.UsageError("--force replaces a gallery and --append extends it; give one")
    alone = bank is not None or coarse_index
    if data is None and (not alone or force or append or metadata is not None):
        raise click.UsageError(
            "give --data; only --bank and --coarse-index for an existing gallery need none"
        )
    from itr_deploy.cli import banks
    from itr_deploy.cli.indexing import index_split
    from itr_deploy.evaluation.data.split import read_split
    from itr_deploy.runtime import Gallery, Matcher
    from itr_deploy.runtime.gallery.coarse_index import FROM as INDEXED_FROM

    matcher, added = Matcher.load(bundle, device=device, backend=backend), 0
    if data is None:
        modality = Gallery.open(output, matcher).modality
    opened = None if bank is None else banks.open_bank(matcher, bank, modality)
    if data is not None:
        read = read_split(data, split)
        added = len(read.image_ids) if modality == "image" else len(read.captions)
        with item_progress(f"indexing {modality}s", added, quiet=False) as progress:
            index_split(
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
    gallery = Gallery.open(output, matcher)
    count = gallery.count()
    if coarse_index or (coarse_index is None and count >= INDEXED_FROM and data is not None):
        click.echo("building the coarse index", err=True)
        gallery.build_coarse_index()
    result = {"gallery": str(output), "modality": modality, "added": added, "items": count}
    result["coarse_indexed"] = gallery.coarse_indexed
    if opened is not None:
        with item_progress("scoring with the bank", count, quiet=False) as progress:
            made = banks.store_phi(
                matcher, gallery, opened, phi_limit=phi_limit << 20, progress=progress
            )
        result |= {"bank": str(bank), "all_scores_kept": made.complete}
    if as_json:
        print_json(result)
    else:
        click.echo(f"gallery: {output} ({count} {modality}s)")
