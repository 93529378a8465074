"""``itr-deploy index``: a split's images or captions into a gallery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import itr_deploy
from itr_deploy.bundle.modality import Modality
from itr_deploy.cli.local_ray import WithLocalRay
from itr_deploy.cli.options import (
    Backend,
    Bundle,
    Device,
    FollowLinks,
    Force,
    Json,
    LockTimeout,
    LogFormat,
    Quiet,
    Split,
    StorageType,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import counted, phase_bars, steps, told
from itr_deploy.errors import InputError, InterruptedWorkError, UsageError
from itr_deploy.paths import StoreUrl, gallery_place

app = typer.Typer(add_completion=False)
log = logging.getLogger(__name__)

PARTS_PANEL = "In parts, on several machines"


@app.command(cls=WithLocalRay)
def index(
    bundle: Bundle,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt. This, "
            "--pictures or --features is required."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Directory of pictures, for a bundle whose model starts from pixels, or with "
            "--detector; their ids are their paths relative to it."
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="Bundle of the region detector that the model was trained with, which finds the "
            "regions of --pictures."
        ),
    ] = None,
    proposals: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Proposals that the detector looks at in a picture; the time is proportional. "
            "By default as it was exported, mostly 300; fewer change which regions are found.",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="An extractor's file or folder, as convert takes it: a TSV of the Caffe "
            "extractors, HDF5, or a folder of .tsv, .npz, .npy or .hdf5 files."
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="File of image ids, one a line: which images of --features, and their order; by "
            "default all."
        ),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken",
            help="Exit with 0 although pictures cannot be used. They are named and left out in "
            "any case.",
        ),
    ] = False,
    split: Split = "test",
    output: Annotated[
        Path,
        typer.Option(
            help="Directory of the gallery to make, or with --append to extend; or its place in an "
            "object store, such as s3://bucket/gallery."
        ),
    ],
    modality: Annotated[Modality, typer.Option(help="Index the images, or the captions.")] = (
        "image"
    ),
    storage: Annotated[
        StorageType | None,
        typer.Option(
            help="Type of the stored tensors; float16 for a new gallery. int8 has a scale per "
            "vector and takes half of float16's space."
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="CSV file with a column 'id' and user columns for the gallery."),
    ] = None,
    coarse_index: Annotated[
        bool | None,
        typer.Option(
            "--coarse-index/--no-coarse-index",
            help="Build the index of the coarse embeddings, for galleries too large to keep them "
            "in memory; by default from 500,000 items on.",
        ),
    ] = None,
    parts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="In how many parts the gallery is made, each by --part; with --ray four an actor "
            "by default.",
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    part: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Encode only this part, from 0 on, into OUTPUT.parts; one that is finished is not "
            "made again, one that was stopped is gone on with.",
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    commit: Annotated[
        bool,
        typer.Option(
            "--commit",
            help="Make the gallery of all parts, in one version, and remove them; with BUNDLE and "
            "--output alone.",
            rich_help_panel=PARTS_PANEL,
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Make all parts with Ray's actors, then commit: on the cluster at this address, "
            "or without one on this machine.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of --ray's actors, by default one a machine; --threads is then the "
            "threads of each.",
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to an existing gallery.")] = False,
    force: Force = False,
    lock_timeout: LockTimeout = 10.0,
    bank: Annotated[Path | None, typer.Option(hidden=True)] = None,
    phi_limit: Annotated[int, typer.Option(hidden=True, min=0)] = 1024,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Encode a split's images or captions, pictures, or an extractor's features with a BUNDLE.

    The gallery appears when it is complete.
    """
    old_job = bank is not None or coarse_index
    nothing = data is None and pictures is None and features is None and not commit
    if nothing and (not old_job or append or force or metadata is not None):
        raise UsageError(
            "--data is missing; give the directory of the split to index, or --pictures or "
            "--features"
        )
    if skip_broken and pictures is None and not commit:
        raise UsageError("--skip-broken is for pictures; give --pictures, or leave it out")
    if bank is not None:
        from itr_deploy.deploy.banks import check_bank

        check_bank(bundle, bank, modality)
    result: dict[str, Any] = {}
    broken: Mapping[str, str] = {}
    if not nothing:
        kept = not append and not isinstance(gallery_place(output), StoreUrl)
        label = f"indexing {modality}s" if pictures is None else "indexing pictures"
        with phase_bars() as tell, _interruptible(label, kept=kept) as reached:
            indexed = itr_deploy.index(
                bundle,
                data=data,
                pictures=pictures,
                detector=detector,
                proposals=proposals,
                features=features,
                ids=ids,
                output=output,
                split=split,
                modality=modality,
                storage=storage,
                metadata=metadata,
                coarse_index=coarse_index,
                parts=parts,
                part=part,
                commit=commit,
                ray=ray,
                actors=actors,
                threads=threads if ray is not None else None,
                append=append,
                force=force,
                lock_timeout=lock_timeout,
                device=device,
                backend=backend,
                progress=partial(reached, tell),
                looking=tell,
                tell=told,
            )
        result, broken = indexed.to_json(), indexed.broken
    elif coarse_index:
        log.warning("index without --data is deprecated; use itr-deploy index-coarse %s", output)
        itr_deploy.Gallery.open(output, itr_deploy.Matcher.load(bundle))
        with steps() as begin:
            begin("building the coarse index")
            result = itr_deploy.index_coarse(output, lock_timeout=lock_timeout).to_json()
    if bank is not None:
        scored = _index_bank(bundle, output, bank, phi_limit, lock_timeout, device, backend)
        result = {"added": 0, **result, **scored}
    if as_json:
        print_json(result)
    elif part is not None:
        typer.echo(
            f"part {part} of {parts}: {result['gallery']} ({result['items']} {result['modality']}s)"
        )
    else:
        typer.echo(f"gallery: {result['gallery']} ({result['items']} {result['modality']}s)")
    for why in broken.values():
        log.warning("left out: %s", why)
    # Of a part it is no error, for which a job would be started again; the commit names them all.
    if broken and not skip_broken and part is None:
        use = "used" if detector is not None or commit else "decoded"
        raise InputError(
            f"{len(broken)} of {len(broken) + result['added']} pictures cannot be {use} and are "
            "not in the gallery; mend or remove them, or accept it with --skip-broken"
        )


@contextmanager
def _interruptible(
    label: str, *, kept: bool
) -> Iterator[Callable[[Callable[[str, int, int], None], int, int], None]]:
    """Say on Ctrl-C how far the work was, and that it is gone on with if what is stored is kept.

    Yields:
        What passes progress on to a bar.

    Raises:
        InterruptedWorkError: On Ctrl-C, after work had begun that is kept.
    """
    last = (0, 0)

    def reached(tell: Callable[[str, int, int], None], done: int, total: int) -> None:
        nonlocal last
        last = (done, total)
        tell(label, done, total)

    try:
        yield reached
    except KeyboardInterrupt as error:
        if not (kept and 0 < last[0] < last[1]):
            raise
        items = label.removeprefix("indexing ")
        raise InterruptedWorkError(
            f"interrupted after {last[0]:,} of {last[1]:,} {items}; the same command goes on from "
            "what was stored, a part every half a minute or more"
        ) from error


def _index_bank(
    bundle: Path,
    gallery: Path,
    bank: Path,
    megabytes: int,
    lock_timeout: float,
    device: str,
    backend: str,
) -> dict[str, Any]:
    """The old ``index --bank``, before it became a verb of its own."""
    log.warning(
        "index --bank is deprecated; use itr-deploy index-bank %s --gallery %s --bank %s "
        "--limit %dMiB",
        *(bundle, gallery, bank, megabytes),
    )
    with counted("scoring with the bank") as progress:
        made = itr_deploy.index_bank(
            bundle,
            gallery=gallery,
            bank=bank,
            limit=megabytes << 20,
            lock_timeout=lock_timeout,
            device=device,
            backend=backend,
            progress=progress,
        )
    return made.to_json()
