"""The published computation in PyTorch as the baseline of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.manifest import Manifest, Member
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import CheckpointError, UsageError
from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.baseline import Baseline
from itr_deploy.evaluation.measures.reranking import Network
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.exporters.reranker import network_of
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.parity.trained import read_reranker, read_trained, trained_ids
from itr_deploy.runtime.encoding.images import checked_images
from itr_deploy.runtime.encoding.pictures import Limits
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.matrices import Inputs
from itr_deploy.runtime.rerank.reranking import reranker_of

IMAGES, CAPTIONS = 128, 100
"""Images and captions per tile; captions are batched as in the published evaluations."""


def torch_baseline(
    matcher: Matcher, split: Split, checkpoints: Sequence[Path], *, rerank: bool = False
) -> Baseline:
    """Read the checkpoints of a bundle, one per member if it is an ensemble.

    Args:
        matcher: The bundle, loaded; its text processing is used.
        split: The data.
        checkpoints: The members' in their order, then the re-ranker's.
        rerank: Whether the last is the re-ranker's, whose network is then part of the baseline.

    Raises:
        CheckpointError: A checkpoint cannot be read, or is not the bundle's.
        UsageError: There are too few or too many checkpoints.
    """
    manifest, path = matcher.bundle.manifest, matcher.bundle.path
    made: tuple[Manifest | Member, ...] = manifest.members or (manifest,)
    sources = [entry.provenance for entry in made]
    if rerank:
        sources.append(reranker_of(matcher).provenance)
    if len(checkpoints) != len(sources):
        names = ", ".join(source.checkpoint for source in sources)
        raise UsageError(
            f"{path} was made from {len(sources)} checkpoints ({names}); "
            f"give each in this order as checkpoints= (--checkpoint), not {len(checkpoints)} of "
            "them"
        )
    trained = [
        read_trained(entry, path, file) for entry, file in zip(made, checkpoints, strict=False)
    ]
    weights = [member.weight for member in manifest.members] or [1.0]
    return Baseline(
        name=f"PyTorch {torch.__version__}",
        scorer=TorchScorer(trained, weights, matcher, split),
        identity={
            "checkpoint": " ".join(map(sha256_of, checkpoints[: len(made)])),
            "weights": " ".join(map(repr, weights)),
            "options": repr([dict(entry.options) for entry in made]),
        },
        network=_network(matcher, checkpoints[-1]) if rerank else None,
    )


def _network(matcher: Matcher, checkpoint: Path) -> Network:
    trained = read_reranker(matcher.bundle, checkpoint)
    origin = reranker_of(matcher).provenance
    if sha256_of(checkpoint) != origin.checkpoint_sha256:
        raise CheckpointError(
            f"{checkpoint}: not the checkpoint of the re-ranker of {matcher.bundle.path}, which "
            f"was made from {origin.checkpoint} (sha256 {origin.checkpoint_sha256[:12]})"
        )

    def scores(query: Modality, inputs: Inputs) -> NDArray[np.float32]:
        given = torch.from_numpy(inputs.affinities), torch.from_numpy(inputs.edges)
        with torch.inference_mode():
            found: NDArray[np.float32] = network_of(trained, query)(*given).numpy()
        return found

    return scores


class TorchScorer:
    """Scores tiles as the published programs do, encoding each anew, in float32 on the CPU."""

    planes = 1

    def __init__(
        self,
        trained: Sequence[TrainedMatcher],
        weights: Sequence[float],
        matcher: Matcher,
        split: Split,
    ) -> None:
        """Take the models, their shares of the score, and the data."""
        self._models = trained
        self._weights = weights
        self._split = split
        self._images = checked_images(split.given, matcher.bundle.manifest.images)
        ids, self._lengths = matcher.text.token_ids(split.captions)
        self._ids = trained_ids(matcher.bundle.manifest, ids)

    @property
    def grid(self) -> Grid:
        """The tiles of the score matrix, see `TileScorer.grid`."""
        images, captions = len(self._split.regions), len(self._lengths)
        # Captions that are padded together must stay in one tile.
        batch = max(model.deployed.padded_together or CAPTIONS for model in self._models)
        return Grid(images, captions, min(IMAGES, images), min(batch, captions))

    def score(self, images: slice, captions: slice) -> NDArray[np.float32]:
        """Score a tile, ``float32 [1, images, captions]``, see `TileScorer.score`.

        Raises:
            InputError: Some regions are not finite.
        """
        lengths = torch.from_numpy(self._lengths[captions])
        ids = torch.from_numpy(self._ids[captions, : int(lengths.max())])
        mean = np.empty((1, images.stop - images.start, len(ids)), np.float32)
        for numbers, inputs in self._images.batches(images, Limits(IMAGES)):
            given = [torch.from_numpy(np.array(array)) for array in inputs.values()]
            with torch.inference_mode():
                found = [model.plain.score(*given, ids, lengths).numpy() for model in self._models]
            mean[0, numbers - images.start] = np.average(found, axis=0, weights=self._weights)
        release_pages(self._split.regions)
        return mean
