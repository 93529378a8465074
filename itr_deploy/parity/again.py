"""Parity of a bundle that exists already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from itr_deploy.bundle.files import sha256_of, write_json
from itr_deploy.bundle.manifest import Manifest, Member
from itr_deploy.bundle.store import PARITY, read_bundle
from itr_deploy.errors import BundleError, CheckpointError, OutputError, UsageError
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.registry import family
from itr_deploy.parity.gate import verify
from itr_deploy.parity.judging import judged_backend
from itr_deploy.parity.report import ParityReport
from itr_deploy.parity.samples import Sample
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.matcher import Matcher


def verify_again(
    bundle: Path,
    checkpoint: Path,
    *,
    tolerance: float | None = None,
    storage_tolerance: float | None = None,
    data: tuple[Path, str, int] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> ParityReport:
    """Read the checkpoint with the options the bundle was made with, compare, write the report.

    Args:
        bundle: The bundle's directory.
        checkpoint: The checkpoint it was made from.
        tolerance: Largest error of a score, by default that of its matchers' products.
        storage_tolerance: The same over float16 galleries.
        data: Directory, split and number of images of real data to rank, or None.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: The bundle is damaged.
        CheckpointError: The checkpoint cannot be read, or is not the bundle's.
        InputError: The data cannot be read.
    """
    opened = read_bundle(bundle)
    manifest = opened.manifest
    if manifest.members:
        raise UsageError(
            f"{bundle} is an ensemble, compared with its members when it was made; "
            "verify the members' bundles with their checkpoints"
        )
    progress(f"reading {checkpoint.name}")
    trained = read_trained(manifest, bundle, checkpoint)
    with judged_backend(opened) as backend:
        matcher = Matcher(opened, backend)
        report = verify(
            trained,
            matcher,
            tolerances=Tolerances.of(manifest.matching, tolerance, storage_tolerance),
            sample=None if data is None else _real_sample(matcher, *data),
            progress=progress,
        )
    if trained.pruned_from is not None:
        line = "rankings of the profiled data before pruning: compared by export"
        report = replace(report, unchecked=(*report.unchecked, line))
    try:
        write_json(bundle / PARITY, report.to_json())
    except OutputError as error:
        progress(f"report not kept: {error}")
    return report


def read_trained(made: Manifest | Member, bundle: Path, checkpoint: Path) -> TrainedMatcher:
    """The checkpoint that a bundle or one of its members was made from, with the same options.

    Args:
        made: The bundle's manifest, or the member.
        bundle: The bundle's directory, for messages.
        checkpoint: The checkpoint.

    Raises:
        BundleError: The family or an option is not known here.
        CheckpointError: The checkpoint cannot be read, or is another one.
    """
    try:
        entry = family(made.family)
        options = {
            option.name: made.options[option.name] for option in entry.options if option.kept
        }
    except KeyError as error:
        raise BundleError(
            f"{bundle}: family or option {error} is not of this itr-deploy; export it again"
        ) from error
    trained = entry.load(checkpoint, **options)
    origin = made.provenance
    if sha256_of(checkpoint) != origin.checkpoint_sha256:
        raise CheckpointError(
            f"{checkpoint}: not the checkpoint of {bundle}, which was made from "
            f"{origin.checkpoint} (sha256 {origin.checkpoint_sha256[:12]})"
        )
    return trained


def _real_sample(matcher: Matcher, directory: Path, split_name: str, images: int) -> Sample:
    split = read_split(directory, split_name).first(images)
    return Sample(np.array(split.regions, np.float32), *matcher.text.token_ids(split.captions))
