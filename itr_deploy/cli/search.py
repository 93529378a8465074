"""``itr-deploy search``: queries in, hits out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Backend,
    Bundle,
    Device,
    FollowLinks,
    Json,
    LogFormat,
    Quiet,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.errors import UsageError

if TYPE_CHECKING:
    from itr_deploy.runtime.hits import Hit, Hits

app = typer.Typer(add_completion=False)


@app.command()
def search(
    bundle: Bundle,
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Texts to search images with.")
    ] = None,
    *,
    gallery: Annotated[
        Path, typer.Option(help="The gallery: a directory, or s3://bucket/gallery, gs:// or az://.")
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            help="Search with this picture, if the bundle's model starts from pixels or with "
            "--detector; else with the regions in this .npy file, of one image or of several."
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", help="Hits per query; a narrower shortlist is widened to it.")
    ] = 10,
    where: Annotated[
        str | None,
        typer.Option(help="SQL over the gallery's columns, for example \"split = 'test'\"."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Width of the shortlist; the bundle's by default.")
    ] = None,
    prefilter: Annotated[
        int | None,
        typer.Option(
            help="Width of the shortlist that the prefilter cuts down to --candidates; the "
            "bundle's by default."
        ),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            help="Width of the shortlist that the refiner cuts down to --candidates; the bundle's "
            "by default, and none where --candidates is given."
        ),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Score every item, no shortlist.")
    ] = False,
    bank: Annotated[
        Path | None,
        typer.Option(
            help="A gallery of the other modality than --gallery's, for --rerank: texts where "
            "images are searched."
        ),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Put the best hits in the re-ranker's order.")
    ] = False,
    gallery_neighbours: Annotated[
        Path | None,
        typer.Option(
            help="For --rerank with a similarity of your own within a modality: an .npz file with "
            "ids, neighbours and similarities of the gallery's items."
        ),
    ] = None,
    bank_neighbours: Annotated[
        Path | None, typer.Option(help="The same of the bank's items.")
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="Bundle of the region detector that finds the regions of a picture given by "
            "--image, for a model that takes regions."
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also write a page of what matched: of every hit of a text, the regions of the "
            "picture that each word found.",
        ),
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="For --explain: directory of the hits' pictures, named by their ids, with or "
            "without the files' ending; without it the page has tables."
        ),
    ] = None,
    picture_names: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The gallery's column with the pictures' names, if these are not the ids.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="For --explain: the page to write.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="For --explain: replace an existing page.")
    ] = False,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Search a gallery with a BUNDLE: texts over images, or an image over texts.

    A dual encoder also finds images like an image, and texts like a text.
    """
    if exhaustive and candidates is not None:
        raise UsageError("--exhaustive scores every item, --candidates some; give one")
    if exhaustive and prefilter is not None:
        raise UsageError("--exhaustive scores every item, --prefilter fewer; give one")
    if exhaustive and refine is not None:
        raise UsageError("--exhaustive scores every item, --refine fewer; give one")
    widths: dict[str, Any] = {}
    if exhaustive or candidates is not None:
        widths["candidates"] = candidates
    if prefilter is not None:
        widths["prefilter"] = prefilter
    if refine is not None:
        widths["refine"] = refine
    results = itr_deploy.search(
        bundle,
        queries or (),
        gallery=gallery,
        image=image,
        k=k,
        where=where,
        rerank=rerank,
        bank=bank,
        gallery_neighbours=gallery_neighbours,
        bank_neighbours=bank_neighbours,
        detector=detector,
        explain=explain,
        pictures=pictures,
        picture_names=picture_names,
        output=output,
        force=force,
        device=device,
        backend=backend,
        **widths,
    )
    names = list(queries or [str(image)])
    if len(results) > len(names):
        names = [f"{image}[{number}]" for number in range(len(results))]
    if as_json:
        print_json(
            [
                {"query": name, "hits": [_hit_json(hit, rerank) for hit in hits]}
                for name, hits in zip(names, results, strict=True)
            ]
        )
        return
    for name, hits in zip(names, results, strict=True):
        _print_hits(name, hits, rerank)
    if output is not None:
        typer.echo(f"page: {output}")


def _print_hits(name: str, hits: Hits, rerank: bool) -> None:
    extra = ("re-ranked", "before") if rerank else ()
    columns = list(hits[0].metadata) if len(hits) else []
    rows = (
        [
            *(str(hit.rank), hit.id, f"{hit.score:.4f}"),
            *(_reranked(hit) if rerank else ()),
            *(str(hit.metadata[column]) for column in columns),
        ]
        for hit in hits
    )
    print_table(name, ("rank", "id", "score", *extra, *columns), rows)


def _hit_json(hit: Hit, rerank: bool) -> dict[str, Any]:
    shown = {"rank": hit.rank, "id": hit.id, "score": hit.score}
    if rerank:
        shown |= {"rerank_score": hit.rerank_score, "matcher_rank": hit.matcher_rank}
    return {**shown, "metadata": hit.metadata}


def _reranked(hit: Hit) -> tuple[str, str]:
    """The re-ranker's score and the matcher's rank."""
    score = "" if hit.rerank_score is None else f"{hit.rerank_score:.4f}"
    return score, str(hit.matcher_rank)
