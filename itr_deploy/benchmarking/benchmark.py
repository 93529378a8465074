"""A whole benchmark: gallery, searches, baseline, cold start, profile, files."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.benchmarking.cold_start import cold_start
from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.picture import picture
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.report import (
    BenchedBundle,
    BenchedGallery,
    BenchReport,
    Machine,
    SearchFigures,
)
from itr_deploy.benchmarking.searches import measured
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.benchmarking.trace import FOLDER, check_traceable, trace
from itr_deploy.bundle.files import write_file, write_json
from itr_deploy.bundle.leftovers import files_below
from itr_deploy.bundle.modality import Modality, other
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.evaluation.data.memory import peak_memory
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.compacting import files_of, fill_of
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.reranking import reranker_of
from itr_deploy.runtime.retriever import DEFAULT_BUDGET, Retriever

if TYPE_CHECKING:
    from itr_deploy.models.contract import PlainMatcher

REPORT, PICTURE = "bench.json", "bench.svg"

Progress = Callable[[str], None]


def benchmark(
    bundle: Path,
    gallery: Path | int,
    output: Path,
    options: Options,
    *,
    force: bool = False,
    progress: Progress = lambda step: None,
) -> BenchReport:
    """Measure searches of a bundle and write the report, its picture and the profiles.

    Args:
        bundle: The bundle's directory.
        gallery: A gallery's path, or the number of items of a synthetic one.
        output: Directory to make.
        options: What to measure.
        force: Whether an earlier benchmark may be replaced.
        progress: Called with the name of each step as it begins.

    Returns:
        The report, which is also written to `REPORT`.

    Raises:
        ItrDeployError: As `Retriever.load` and `Retriever.search` do. Also: the gallery is empty or
            has the queries' modality, the checkpoints are not the bundle's, a dual encoder was
            given widths, or the output exists.
    """
    with staged_directory(
        output, force=force, replaceable=is_only_a_benchmark, kind="benchmark", last=REPORT
    ) as root:
        matcher = Matcher.load(bundle, options.device, options.threads[0], backend=options.backend)
        _check_widths(options, matcher)
        if options.trace:
            check_traceable(matcher.backend)
        models = _plain_models(matcher, options)
        items = RandomItems(matcher)
        with _gallery(matcher, gallery, options.query, items, progress) as path:
            opened = Gallery.open(path, matcher)
            options = _settled(options, matcher, opened)
            report = _measured(matcher, opened, gallery, root, options, items, models, progress)
        write_json(root / REPORT, report.model_dump())
        write_file(root / PICTURE, picture(_title(report), report.searches))
    return report


def is_only_a_benchmark(path: Path) -> bool:
    """Whether a directory holds a benchmark and nothing else."""
    files = set(files_below(path))
    own = {name for name in files if name.startswith(f"{FOLDER}/") and name.endswith(".json")}
    return REPORT in files and files <= own | {REPORT, PICTURE}


def _measured(
    matcher: Matcher,
    gallery: Gallery,
    given: Path | int,
    root: Path,
    options: Options,
    items: RandomItems,
    models: list[PlainMatcher],
    progress: Progress,
) -> BenchReport:
    """Measure everything in turn, so that each measurement has the machine to itself."""
    bundle, place = matcher.bundle.path, Path(gallery.path)
    searches: list[SearchFigures] = []
    for threads in options.threads:
        progress("searching" if threads is None else f"searching on {threads} threads")
        retriever = Retriever.load(bundle, place, **options.loading(threads))
        searches += measured(retriever, threads, options, items)
    peak, baseline, traced = peak_memory(), None, None
    if models:
        from itr_deploy.benchmarking.plain import compared

        progress("plain model in PyTorch")
        baseline = compared(models, retriever, options.threads[-1], options, items)
    # Frees its tensors before other processes load them again.
    del retriever
    progress("cold start in fresh processes")
    first = {"bundle": str(bundle), "gallery": str(place), **options.loading(options.threads[0])}
    cold = cold_start(first, options.searching(options.widths[0]), items.make(options.query, 1)[0])
    if options.trace:
        progress("ONNX Runtime's profile")
        fresh = Matcher.load(bundle, options.device, options.threads[0], backend=options.backend)
        traced = trace(fresh, place, root, options, items)
    return BenchReport(
        bundle=_bundle(matcher),
        gallery=_about(gallery, given, options),
        machine=_machine(),
        query=options.query,
        rounds=options.rounds,
        k=options.k,
        rerank=options.bank is not None,
        searches=tuple(searches),
        peak_memory=peak,
        baseline=baseline,
        cold_start=cold,
        trace=traced,
    )


def _plain_models(matcher: Matcher, options: Options) -> list[PlainMatcher]:
    """The plain models; read first, so that a wrong checkpoint is reported at once."""
    if not options.checkpoints:
        return []
    from itr_deploy.benchmarking.plain import plain_models

    return plain_models(matcher.bundle, options.checkpoints)


@contextmanager
def _gallery(
    matcher: Matcher, given: Path | int, query: Modality, items: RandomItems, progress: Progress
) -> Iterator[Path]:
    if isinstance(given, Path):
        yield given
        return
    progress(f"making a gallery of {given:,} items")
    with synthetic_gallery(matcher, other(query), given, items) as path:
        yield path


def _check_widths(options: Options, matcher: Matcher) -> None:
    """Refuse widths of shortlists that a search of this bundle does not have.

    Raises:
        UsageError: The bundle is a dual encoder.
    """
    if not matcher.bundle.manifest.is_dual_encoder:
        return
    widths = [width for width in options.widths if width is not None]
    given = {
        "candidates": widths[0] if widths else None,
        "prefilter": options.prefilter,
        "refine": options.refine,
    }
    for name, width in given.items():
        if width is not None:
            raise UsageError(
                f"{name}={width} (--{name}) means nothing for a dual encoder: a search scores "
                "every item by one product; leave it out"
            )


def _settled(options: Options, matcher: Matcher, gallery: Gallery) -> Options:
    """The options, completed by what the bundle and the gallery determine.

    Raises:
        GalleryError: The gallery is empty, or of the queries' own modality.
    """
    if gallery.modality == options.query:
        raise GalleryError(
            f"{gallery.path} holds {gallery.modality}s; search it with "
            f"query={other(gallery.modality)!r} (--query {other(gallery.modality)})"
        )
    if gallery.count() == 0:
        raise GalleryError(f"{gallery.path}: the gallery is empty; add items with itr-deploy index")
    resident = options.resident
    pipeline = matcher.bundle.manifest.pipeline
    refine, hits = options.refine, options.k
    if refine is None and not options.widths:
        refine = pipeline.refine_width(options.query)
    if options.bank is not None:
        hits = max(hits, reranker_of(matcher).depth(options.query))
    return replace(
        options,
        widths=options.widths or (pipeline.width_for(options.query, hits),),
        refine=refine,
        resident=stored_bytes(gallery) <= DEFAULT_BUDGET if resident is None else resident,
    )


def _bundle(matcher: Matcher) -> BenchedBundle:
    manifest = matcher.bundle.manifest
    return BenchedBundle(
        path=str(matcher.bundle.path),
        family=manifest.family,
        precision=manifest.precision,
        encoding_id=manifest.encoding_id,
    )


def _about(gallery: Gallery, given: Path | int, options: Options) -> BenchedGallery:
    files, fill = files_of(gallery.opened), fill_of(gallery.opened)
    return BenchedGallery(
        path=str(given) if isinstance(given, Path) else None,
        modality=gallery.modality,
        items=gallery.count(),
        storage=gallery.description.storage,
        resident=bool(options.resident),
        stored_bytes=stored_bytes(gallery),
        files=files.files,
        versions=files.versions,
        fragments=fill.fragments,
        deleted_share=fill.deleted_share,
    )


def _machine() -> Machine:
    return Machine(
        system=platform.platform(),
        processor=platform.machine(),
        cores=os.cpu_count(),
        python=platform.python_version(),
    )


def _title(report: BenchReport) -> str:
    gallery = report.gallery
    return (
        f"{report.bundle.family}, {report.query} queries, {gallery.items:,} {gallery.modality}s "
        f"{gallery.place}: mean of {report.rounds} searches"
    )
