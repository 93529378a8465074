"""`bench`: how fast a bundle searches, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from itr_deploy.benchmarking.benchmark import benchmark
from itr_deploy.benchmarking.options import Options
from itr_deploy.benchmarking.report import BenchReport
from itr_deploy.bundle.modality import Modality, other
from itr_deploy.deploy.export_half import export_half
from itr_deploy.errors import UsageError
from itr_deploy.runtime.cpus import MOST_THREADS
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.values import (
    FLAG,
    FUNCTION,
    GALLERY,
    PATH,
    TEXT,
    checked,
    choice,
    each,
    in_no_store,
    or_none,
    whole,
)


@checked(
    bundle=PATH,
    gallery=GALLERY,
    synthetic=whole(1),
    query=choice(Modality),
    batch=each(whole(1), least=1),
    candidates=each(or_none(whole(1))),
    prefilter=whole(1),
    refine=whole(1),
    threads=each(or_none(whole(1, MOST_THREADS)), least=1),
    rounds=whole(1),
    k=whole(1),
    resident=FLAG,
    bank=GALLERY,
    checkpoints=each(PATH),
    trace=FLAG,
    output=PATH,
    force=FLAG,
    device=TEXT,
    backend=TEXT,
    progress=FUNCTION,
)
def bench(
    bundle: str | Path,
    *,
    gallery: str | Path | None = None,
    synthetic: int | None = None,
    query: Modality | None = None,
    batch: Sequence[int] = (1, 8),
    candidates: Sequence[int | None] = (),
    prefilter: int | None = None,
    refine: int | None = None,
    threads: Sequence[int | None] = (None,),
    rounds: int = 20,
    k: int = 10,
    resident: bool | None = None,
    bank: str | Path | None = None,
    checkpoints: Sequence[str | Path] = (),
    trace: bool = False,
    output: str | Path = "bench",
    force: bool = False,
    device: str = "cpu",
    backend: str = "auto",
    progress: Callable[[str], None] = lambda step: None,
) -> BenchReport:
    """Search with a bundle and measure every stage: from encoding to re-ranking.

    Args:
        bundle: The bundle's directory.
        gallery: The gallery to search.
        synthetic: Search a temporary gallery of this many random items instead.
        query: Modality of the random queries; by default what the gallery is searched with, text
            for ``synthetic``.
        batch: Queries per search, each size in turn.
        candidates: Widths of the shortlist, None for every item; the bundle's by default.
        prefilter: Width of the shortlist that the prefilter reads; the bundle's by default.
        refine: Width of the shortlist that the refiner reads; the bundle's by default, and none
            where ``candidates`` are given.
        threads: Threads that compute on the CPU, each number in turn; None for one per core.
        rounds: Searches per setting.
        k: Hits per query.
        resident: True keeps the gallery in memory, False reads candidates from disk; by default its
            size decides.
        bank: A gallery of the queries' modality, to re-rank with.
        checkpoints: Also time the plain PyTorch model of these checkpoints over as many items.
        trace: Also keep ONNX Runtime's profile and list its operators.
        output: Directory for the report, its picture and the profiles.
        force: Replace an earlier benchmark.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        progress: Called with the name of each step as it begins.

    Returns:
        The report, also written to `bench.json`. Times are in milliseconds, sizes in bytes.

    Raises:
        BundleError: The bundle is damaged.
        CheckpointError: A checkpoint is not the bundle's.
        GalleryError: The gallery is empty, or its items are not what the queries search.
        OutputError: The output exists, or writing fails.
        SetupError: PyTorch is not installed, for ``checkpoints``.
        UsageError: Options exclude each other, or a gallery is in an object store.
    """
    instead = "bench measures local galleries; copy it to a directory"
    gallery = None if gallery is None else in_no_store("gallery", gallery, instead)
    bank = None if bank is None else in_no_store("bank", bank, instead)
    searched = _one_of(gallery, synthetic)
    if checkpoints and device != "cpu":
        raise UsageError(
            f"checkpoints= (--baseline torch) are timed on the CPU; leave out device={device!r} "
            "(--device)"
        )
    if checkpoints and bank is not None:
        raise UsageError(
            "checkpoints= (--baseline torch) do not re-rank; leave out bank= (--rerank, --bank)"
        )
    if checkpoints:
        with export_half():
            import itr_deploy.benchmarking.plain  # noqa: F401  # fails before any work
    options = Options(
        query=query or _taken_by(searched),
        batches=tuple(batch),
        widths=tuple(candidates),
        prefilter=prefilter,
        refine=refine,
        threads=tuple(threads),
        rounds=rounds,
        k=k,
        device=device,
        backend=backend,
        resident=resident,
        bank=bank,
        trace=trace,
        checkpoints=tuple(Path(file) for file in checkpoints),
    )
    return benchmark(Path(bundle), searched, Path(output), options, force=force, progress=progress)


def _one_of(gallery: str | Path | None, synthetic: int | None) -> Path | int:
    if gallery is not None and synthetic is None:
        return Path(gallery)
    if synthetic is not None and gallery is None:
        return synthetic
    raise UsageError("give gallery= or synthetic= (--gallery, --synthetic), one of them")


def _taken_by(searched: Path | int) -> Modality:
    """The modality that a gallery is searched with; a synthetic one is of images by default."""
    return other(Gallery.open(searched).modality) if isinstance(searched, Path) else "text"
