"""Compares a bundle whose export changed the model with the model before, on real data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.modality import direction_title
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import Split, read_split
from itr_deploy.models.contract import ChangedFrom, DeployedMatcher
from itr_deploy.parity.changes import RankChange, rank_change
from itr_deploy.parity.report import (
    Comparison,
    ParityReport,
    RankComparison,
    compare,
    compare_ranks,
)
from itr_deploy.parity.tolerances import DEFAULTS
from itr_deploy.runtime.matcher import Matcher

BATCH = 64
"""Number of items that PyTorch encodes at once."""

PAIRS = 2048
"""Number of pairs that PyTorch scores at once."""


@dataclass(frozen=True)
class ChangedParity:
    """The result of the comparison.

    Attributes:
        outputs: Compared scores, if they must be equal.
        ranks: Compared rankings, if they must be equal.
        changes: How both directions' rankings changed.
    """

    outputs: tuple[Comparison, ...]
    ranks: tuple[RankComparison, ...]
    changes: tuple[RankChange, ...]

    def added_to(self, report: ParityReport) -> ParityReport:
        """The bundle's report with these results added."""
        return replace(
            report,
            outputs=(*report.outputs, *self.outputs),
            ranks=(*report.ranks, *self.ranks),
            changes=self.changes,
        )


def evidence_split(origin: ChangedFrom) -> Split:
    """The data on which the change was chosen.

    Raises:
        InputError: The data is not where it should be, or has changed since.
    """
    evidence, remedy = origin.pruning.evidence, origin.remedy
    if origin.data is None:
        raise InputError(f"{origin.evidence} does not say where its data is; {remedy}")
    try:
        split = read_split(origin.data, evidence.split).first(evidence.images)
    except InputError as error:
        raise InputError(
            f"the data of {origin.evidence} cannot be read: {error}; {remedy}"
        ) from error
    if split.digest() != evidence.data_sha256:
        raise InputError(
            f"{origin.data}: split {evidence.split} is not the data of {origin.evidence}, its "
            f"features or captions differ; {remedy}, or profile again"
        )
    return split


def compare_changed(
    origin: ChangedFrom,
    matcher: Matcher,
    split: Split,
    progress: Callable[[str], None] = lambda step: None,
) -> ChangedParity:
    """Score a split with the bundle, and with the model before the change in PyTorch.

    Raises:
        InputError: The split does not fit the bundle.
    """
    progress(f"the {split.name} split after {origin.change}")
    ids, lengths = matcher.text.token_ids(split.captions)
    got = matcher.score(texts=(ids, lengths), images=split.given)
    progress(f"the {split.name} split before {origin.change}")
    expected = _scores(origin.before, split.regions, ids, lengths)
    changes = rank_change(got, expected, split.answers)
    if not origin.exact:
        return ChangedParity((), (), changes)
    name = f"{split.name} split before {origin.change}"
    size = f"{got.shape[0]} images x {got.shape[1]} texts"
    tolerance = DEFAULTS[matcher.bundle.manifest.matching]
    outputs = (compare(name, [(size, got, expected)], tolerance),)
    ranks = (
        compare_ranks(f"{direction_title('text')}, {name}", got.T, expected.T, tolerance),
        compare_ranks(f"{direction_title('image')}, {name}", got, expected, tolerance),
    )
    return ChangedParity(outputs, ranks, changes)


def _scores(
    deployed: DeployedMatcher,
    regions: NDArray[np.floating],
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> NDArray[np.float32]:
    """All scores ``[images, texts]`` in PyTorch."""
    scores = np.empty((len(regions), len(ids)), np.float32)
    width = deployed.text_length or int(lengths.max())
    tokens, counts = torch.from_numpy(ids[:, :width]), torch.from_numpy(lengths)
    with torch.inference_mode():
        texts = [deployed.encode_texts(tokens[b], counts[b])[:-1] for b in _slices(len(ids), BATCH)]
        together = [torch.cat(parts) for parts in zip(*texts, strict=True)]
        for rows in _slices(len(regions), BATCH):
            part = torch.from_numpy(np.array(regions[rows], np.float32))
            images = [tensor[None] for tensor in deployed.encode_images(part)[:-1]]
            for columns in _slices(len(ids), max(1, PAIRS // len(part))):
                chosen = [tensor[None, columns] for tensor in together]
                tile = deployed.match(chosen, counts[None, columns], images)[0]
                scores[rows, columns] = tile.T.numpy()
    return scores


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
