"""`tune`: a projection and the widths of a search, written into the bundle."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.paths import local_path
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.evaluation.directory import check_evaluation_output
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.tuning.tune import ProjectionChoice, Tuned
from itr_deploy.evaluation.tuning.tune import tune as tune_split
from itr_deploy.runtime.matcher import Matcher


def tune(
    bundle: str | Path,
    *,
    data: str | Path,
    split: str = "dev",
    target: float = 0.99,
    growth: float = 1.0,
    projection: ProjectionChoice = "auto",
    work: str | Path = "tuning",
    device: str = "cpu",
    backend: str = "auto",
    bar: Bar = QUIET,
) -> dict[Modality, Tuned]:
    """Write the cheapest shortlists that keep ``target`` of the exhaustive top 10 into a bundle.

    They are a projection of the coarse embeddings, where one is clearly better than none, and the
    widths: where the bundle has a prefilter, the width that it reads and the width that it leaves
    for the matcher. Stopped or killed, the same call goes on where it was.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, ``_caps.txt`` and ``_ids.txt``.
        split: Which split to measure on; not the one whose figures are reported.
        target: Share of the exhaustive top 10 to keep, above 0 to 1.
        growth: How many times the split's items the galleries have that will be searched; the
            widths grow in proportion.
        projection: ``"auto"`` fits one and takes it where it shortlists clearly better;
            ``"none"`` leaves the coarse embeddings as they are.
        work: Directory of the scores while they are computed, or of an evaluation of the same
            split made with ``save_scores``.
        device: ``"cpu"`` or ``"cuda"``.
        backend: See `Matcher.load`.
        bar: Told of the progress, in pairs.

    Returns:
        What was found, by the modality of the query.

    Raises:
        BundleError: The bundle is damaged.
        InputError: The data cannot be read or does not fit the bundle.
        OutputError: ``work`` holds other files; the bundle or the disk refuses.
        UsageError: ``target`` is no share, or ``growth`` is below 1 or not finite.
    """
    if not 0 < target <= 1:
        raise UsageError(f"target={target}: must be a share above 0, of 1 at most; 0.99 is usual")
    work = local_path(work)
    check_evaluation_output(work, force=False)
    matcher = Matcher.load(bundle, device=device, backend=backend)
    read = read_split(local_path(data), split)
    return tune_split(matcher, read, target, work, bar, projection, growth)
