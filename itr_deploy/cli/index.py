"""``itr-deploy index``: a split's images or captions into a gallery."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.devices import device_options
from itr_deploy.cli.output import counted, print_json


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
    from itr_deploy.deploy.banks import index_bank
    from itr_deploy.deploy.indexing import index, index_coarse

    result: dict[str, object] = {}
    if data is not None:
        with counted(f"indexing {modality}s") as progress:
            indexed = index(
                bundle,
                data=data,
                output=output,
                split=split,
                modality=modality,  # type: ignore[arg-type]
                storage=storage,  # type: ignore[arg-type]
                metadata=metadata,
                coarse_index=coarse_index,
                append=append,
                force=force,
                device=device,
                backend=backend,
                progress=progress,
            )
        result = indexed.to_json()
    elif coarse_index:
        click.echo("building the coarse index", err=True)
        result = index_coarse(output).to_json()
    if bank is not None:
        with counted("scoring with the bank") as progress:
            made = index_bank(
                bundle,
                gallery=output,
                bank=bank,
                limit=phi_limit << 20,
                device=device,
                backend=backend,
                progress=progress,
            )
        result |= {"gallery": str(output), "bank": str(bank), "all_scores_kept": made.complete}
    if as_json:
        print_json(result)
    elif "items" in result:
        click.echo(f"gallery: {output} ({result['items']} {result['modality']}s)")
    else:
        click.echo(f"gallery: {output} (scored with {bank})")
