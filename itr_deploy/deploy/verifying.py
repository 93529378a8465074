"""`verify`: compares an existing bundle with its checkpoint again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itr_deploy.bundle.detector_consistency import check_detector
from itr_deploy.bundle.files import sha256_of, write_json
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import (
    PARITY,
    RERANKER_PARITY,
    Bundle,
    DetectorBundle,
    read_any_bundle,
)
from itr_deploy.deploy.export_half import export_half
from itr_deploy.errors import BundleError, InputError, OutputError, UsageError
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.values import FUNCTION, PATH, TEXT, checked, real, whole

if TYPE_CHECKING:
    from itr_deploy.parity.report import ParityReport
    from itr_deploy.parity.samples import Sample
    from itr_deploy.runtime.matcher import Matcher

log = logging.getLogger(__name__)

Progress = Callable[[str], None]


@checked(
    bundle=PATH,
    checkpoint=PATH,
    tolerance=real("a number above 0", above=0),
    storage_tolerance=real("a number above 0", above=0),
    data=PATH,
    split=TEXT,
    images=whole(2),
    progress=FUNCTION,
)
def verify(
    bundle: str | Path,
    *,
    checkpoint: str | Path,
    tolerance: float | None = None,
    storage_tolerance: float | None = None,
    data: str | Path | None = None,
    split: str = "test",
    images: int = 32,
    progress: Progress = lambda step: None,
) -> ParityReport:
    """Compare a bundle, or its re-ranker, with the checkpoint it was made from.

    Of a cascade, that is the matcher's checkpoint. A region detector's bundle is compared on a made
    picture. The report is written into the bundle, if the
    bundle is writable.

    Args:
        bundle: The bundle's directory.
        checkpoint: The checkpoint that the bundle, or its re-ranker, was made from.
        tolerance: Largest error of a score, on ``|a - b| / (1 + |b|)``; by default 1e-4 for float32
            bundles, 1e-2 for float16 and 5e-2 for bfloat16.
        storage_tolerance: The same over float16 galleries; by default at least 1e-2.
        data: Directory of real data to rank; None for random inputs.
        split: Name of its split.
        images: Number of its images to use, with all their captions.
        progress: Called with the name of each step as it begins.

    Returns:
        The report; ``passed`` says whether everything was within its tolerance.

    Raises:
        BundleError: The bundle is damaged.
        CheckpointError: The checkpoint cannot be read, or is not the bundle's.
        InputError: The data cannot be read.
        SetupError: PyTorch or onnx is not installed.
        UsageError: The bundle is an ensemble, the checkpoint that of a cascade's dual encoder, a
            tolerance is not above 0, or a detector's bundle is given tolerances or data.
    """
    bundle, checkpoint = Path(bundle), Path(checkpoint)
    opened = read_any_bundle(bundle)
    of_matchers = (tolerance, storage_tolerance, data)
    if isinstance(opened, DetectorBundle) and any(given is not None for given in of_matchers):
        raise UsageError(
            f"{bundle} is a region detector's bundle, compared on a made picture within its own "
            "tolerances; leave out tolerance=, storage_tolerance= and data= (--tolerance, "
            "--storage-tolerance, --data)"
        )
    progress("loading PyTorch")
    with export_half():
        import torch  # noqa: F401  # fails before any work
    if isinstance(opened, DetectorBundle):
        report, name = _verify_detector(opened, checkpoint, progress), PARITY
    elif _is_rerankers(opened, checkpoint):
        report, name = _verify_reranker(opened, checkpoint, tolerance, progress), RERANKER_PARITY
    else:
        sample = None if data is None else (Path(data), split, images)
        tolerances = (tolerance, storage_tolerance)
        report, name = _verify_matcher(opened, checkpoint, tolerances, sample, progress), PARITY
    try:
        write_json(bundle / name, report.to_json())
    except OutputError as error:
        log.warning("report not kept: %s", error)
    return report


def _verify_matcher(
    bundle: Bundle,
    checkpoint: Path,
    allowed: tuple[float | None, float | None],
    data: tuple[Path, str, int] | None,
    progress: Progress,
) -> ParityReport:
    from itr_deploy.parity.gate import verify as compare
    from itr_deploy.parity.parity_backend import parity_backend
    from itr_deploy.parity.tolerances import Tolerances
    from itr_deploy.parity.trained import read_trained
    from itr_deploy.runtime.matcher import Matcher

    manifest = bundle.manifest
    if manifest.members:
        raise UsageError(
            f"{bundle.path} is an ensemble, compared with its members when it was made; "
            "verify the members' bundles with their checkpoints"
        )
    if _is_fronts(manifest, checkpoint):
        raise UsageError(
            f"{checkpoint} is that of the dual encoder in front of {bundle.path}, which was "
            "compared with its own bundle when the cascade was made; verify that bundle"
        )
    progress(f"reading {checkpoint.name}")
    trained = read_trained(manifest, bundle.path, checkpoint)
    with parity_backend(bundle) as backend:
        matcher = Matcher(bundle, backend)
        report = compare(
            trained,
            matcher,
            tolerances=Tolerances.of(manifest.matching, *allowed),
            sample=None if data is None else _real_sample(matcher, *data),
            progress=progress,
        )
    origin = trained.changed_from
    if origin is not None:
        line = f"rankings of the profiled data before {origin.change}: compared by export"
        report = replace(report, unchecked=(*report.unchecked, line))
    return report


def _verify_reranker(
    bundle: Bundle, checkpoint: Path, tolerance: float | None, progress: Progress
) -> ParityReport:
    from itr_deploy.parity.reranker import compare_reranker
    from itr_deploy.parity.trained import read_reranker

    progress(f"reading {checkpoint.name}")
    trained = read_reranker(bundle, checkpoint)
    progress("comparison with PyTorch")
    return compare_reranker(trained, bundle, tolerance)


def _verify_detector(bundle: DetectorBundle, checkpoint: Path, progress: Progress) -> ParityReport:
    from itr_deploy.models.detector.checkpoint import read_network
    from itr_deploy.models.detector.plain import PlainDetector
    from itr_deploy.models.detector.settings import Settings
    from itr_deploy.parity.detector import compare_detector
    from itr_deploy.parity.scene import made_scene
    from itr_deploy.parity.trained import check_origin

    check_detector(bundle)
    progress(f"reading {checkpoint.name}")
    network, manifest = read_network(checkpoint), bundle.manifest
    check_origin(manifest.provenance, bundle.path, checkpoint)
    if network.config.dialect != manifest.dialect:
        raise BundleError(
            f"{bundle.path}: is of {manifest.dialect}, and {checkpoint.name} of "
            f"{network.config.dialect}; export the bundle again"
        )
    settings = Settings(manifest.sides, manifest.proposals, manifest.selection)
    return compare_detector(PlainDetector(network, settings), bundle, made_scene(), progress)


def _is_rerankers(bundle: Bundle, checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the bundle's re-ranker."""
    reranker = bundle.manifest.reranker
    return (
        reranker is not None
        and checkpoint.is_file()
        and sha256_of(checkpoint) == reranker.provenance.checkpoint_sha256
    )


def _is_fronts(manifest: Manifest, checkpoint: Path) -> bool:
    """Whether a checkpoint is that of a cascade's dual encoder, and not the matcher's too."""
    front, own = manifest.front, manifest.provenance.checkpoint_sha256
    return (
        front is not None
        and checkpoint.is_file()
        and sha256_of(checkpoint) == front.provenance.checkpoint_sha256 != own
    )


def _real_sample(matcher: Matcher, directory: Path, split_name: str, images: int) -> Sample:
    from itr_deploy.parity.samples import Sample
    from itr_deploy.parity.trained import trained_ids

    if matcher.bundle.manifest.images.pictures:
        raise InputError(
            f"{directory}: verify ranks images of one shape, and pictures differ in theirs; leave "
            "data= (--data) out, and compare on them with evaluate(..., checkpoints=...) "
            "(itr-deploy evaluate --baseline torch)"
        )
    split = read_split(directory, split_name).first(images)
    if split.extras.counts is not None:
        raise InputError(
            f"{directory}: verify ranks images of equal numbers of regions, and this split has "
            "region_counts; leave data= (--data) out, or give another split"
        )
    arrays = {"regions": np.array(split.regions, np.float32)}
    if matcher.bundle.manifest.images.boxes:
        places = {"boxes": split.extras.boxes, "picture_sizes": split.extras.picture_sizes}
        arrays |= {
            name: np.array(extra, np.float32) for name, extra in places.items() if extra is not None
        }
    ids, lengths = matcher.text.token_ids(split.captions)
    return Sample(arrays, trained_ids(matcher.bundle.manifest, ids), lengths)
