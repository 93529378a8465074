"""The trained models that a bundle was made from, read with the bundle's options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.manifest import Manifest, Member, Provenance
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, CheckpointError
from itr_deploy.exporters.text import SPECIAL_WORDS
from itr_deploy.models.contract import TrainedMatcher, TrainedReranker
from itr_deploy.models.registry import family, reranker_family
from itr_deploy.runtime.text.words import UNKNOWN


def read_trained(made: Manifest | Member, bundle: Path, checkpoint: Path) -> TrainedMatcher:
    """The checkpoint that a bundle or one of its members was made from, with the same options.

    Args:
        made: The bundle's manifest, or the member.
        bundle: The bundle's directory, for messages.
        checkpoint: The checkpoint.

    Raises:
        BundleError: The family, an option or its value is unknown to this version.
        CheckpointError: The checkpoint cannot be read, or is a different one.
    """
    try:
        entry = family(made.family)
        options = entry.options.of_manifest(made.family, made.options)
    except KeyError as error:
        raise BundleError(
            f"{bundle}: family or option {error} is not of this itr-deploy; export it again"
        ) from error
    except ValueError as error:
        raise BundleError(
            f"{bundle}: its options are not of this itr-deploy: {error}; export it again"
        ) from error
    trained = entry.load(checkpoint, options)
    check_origin(made.provenance, bundle, checkpoint)
    return trained


def check_origin(origin: Provenance, bundle: Path, checkpoint: Path) -> None:
    """Refuse a checkpoint that a bundle was not made from.

    Raises:
        CheckpointError: It is another one.
    """
    if sha256_of(checkpoint) != origin.checkpoint_sha256:
        raise CheckpointError(
            f"{checkpoint}: not the checkpoint of {bundle}, which was made from "
            f"{origin.checkpoint} (sha256 {origin.checkpoint_sha256[:12]})"
        )


def trained_ids(manifest: Manifest, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """A bundle's token ids as the matcher's checkpoint knows them.

    Words of a cascade that its dual encoder alone knows are unknown to the matcher.
    """
    if manifest.front is None:
        return token_ids
    unknown = SPECIAL_WORDS[UNKNOWN]
    return np.where(token_ids < manifest.front.matcher_words, token_ids, unknown)


def read_reranker(bundle: Bundle, checkpoint: Path) -> TrainedReranker:
    """Read the checkpoint of a bundle's re-ranker.

    Raises:
        BundleError: The bundle has no re-ranker, or one unknown to this version.
        CheckpointError: The checkpoint cannot be read, or has other sizes.
    """
    record = bundle.manifest.reranker
    if record is None:
        raise BundleError(f"{bundle.path} has no re-ranker; add one with itr-deploy export leaprr")
    try:
        entry = reranker_family(record.family)
    except KeyError as error:
        raise BundleError(
            f"{bundle.path}: re-ranker {error} is not of this itr-deploy; export it again"
        ) from error
    trained = entry.load(checkpoint, record.heads)
    if trained.pillars != record.pillars:
        raise CheckpointError(
            f"{checkpoint}: takes {trained.pillars} pillars, {bundle.path} {record.pillars}"
        )
    return trained
