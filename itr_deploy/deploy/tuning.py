"""`tune`: finds a projection and the widths of a search, and writes them into the bundle."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.evaluation.directory import check_evaluation_output
from itr_deploy.evaluation.progress import BAR, QUIET, Bar
from itr_deploy.evaluation.tuning.tune import ProjectionChoice, Tuned
from itr_deploy.evaluation.tuning.tune import tune as tune_split
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.values import PATH, TEXT, checked, choice, real


@checked(
    bundle=PATH,
    data=PATH,
    split=TEXT,
    target=real("a share above 0, of 1 at most; 0.99 is usual", above=0, at_most=1),
    growth=real("a finite number of at least 1", at_least=1),
    projection=choice(ProjectionChoice),
    work=PATH,
    device=TEXT,
    backend=TEXT,
    bar=BAR,
)
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

    This writes a projection of the coarse embeddings, if one is clearly better than none, and the
    shortlist's width; if the bundle has a prefilter, the widths that it and the refiner read, and
    the width that is left for the matcher. If it is stopped or killed, the same call resumes.

    Args:
        bundle: The bundle's directory.
        data: Directory with ``{split}_ims.npy`` or ``_feat.npy``, ``_caps.txt`` and ``_ids.txt``;
            for a model that starts from pixels, of pictures: docs/guides/pictures.md.
        split: The split to measure on; should not be the one whose figures are reported.
        target: Share of the exhaustive top 10 to keep, above 0 and at most 1.
        growth: Size of the galleries to be searched, as a multiple of the split's items; the widths
            grow in proportion.
        projection: ``"auto"`` fits one and uses it if it shortlists clearly better; ``"none"``
            leaves the coarse embeddings as they are.
        work: Directory for the scores while they are computed, or of an evaluation of the same
            split made with ``save_scores``.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        bar: Shows the progress, in pairs.

    Returns:
        The result for each query modality; empty for a dual encoder, which has no shortlist.

    Raises:
        BundleError: The bundle is damaged.
        InputError: The data cannot be read or does not fit the bundle.
        OutputError: ``work`` holds other files, or the bundle or ``work`` cannot be written.
        UsageError: ``target`` is not a share, or ``growth`` is below 1 or not finite.
    """
    check_evaluation_output(Path(work), force=False)
    matcher = Matcher.load(bundle, device=device, backend=backend)
    pictures = bool(matcher.bundle.manifest.images.pictures)
    read = read_split(Path(data), split, pictures=pictures)
    return tune_split(matcher, read, target, Path(work), bar, projection, growth)
