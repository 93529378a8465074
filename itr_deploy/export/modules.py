"""The torch modules behind a bundle's graphs, made from any family's `DeployedMatcher`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from itr_deploy.bundle.manifest import Precision
from itr_deploy.models.contract import DeployedMatcher
from itr_deploy.models.precision import matrix_precision


class InPrecision(nn.Module):
    """A module whose matrix products are computed in ``precision``."""

    def __init__(self, module: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.module = module
        self.precision = precision

    def forward(self, *inputs: Any) -> Any:
        """As the module's."""
        with matrix_precision(self.precision):
            return self.module(*inputs)


class ImageEncoderModule(nn.Module):
    """``regions [B, R, Di]`` -> the stored image tensors, then the embedding."""

    def __init__(self, deployed: DeployedMatcher) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        """See `DeployedMatcher.encode_images`."""
        return self.deployed.encode_images(regions)


class TextEncoderModule(nn.Module):
    """``token_ids [B, L], lengths [B]`` -> the stored text tensors, then the embedding."""

    def __init__(self, deployed: DeployedMatcher) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """See `DeployedMatcher.encode_texts`."""
        return self.deployed.encode_texts(token_ids, lengths)


class TextToImageModule(nn.Module):
    """Scores of text queries with the candidates they name in an image gallery.

    Queries come in groups that share a row of candidates, see `itr_deploy.export.grouping`.
    """

    def __init__(self, deployed: DeployedMatcher) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(
        self,
        texts: Sequence[Tensor],
        lengths: Tensor,
        images: Sequence[Tensor],
        candidates: Tensor,
    ) -> tuple[Tensor, ...]:
        """``texts [G, Q, L, ..], lengths [G, Q], images [N, R, ..], candidates [G, K]``.

        Returns:
            The scores ``[G, Q, K]``, then the `DeployedMatcher.pair_outputs`.
        """
        chosen = [_gather(image, candidates) for image in images]
        return self.deployed.match_outputs(texts, lengths, chosen)


class ImageToTextModule(nn.Module):
    """Scores of image queries with the candidates they name in a text gallery; see above."""

    def __init__(self, deployed: DeployedMatcher) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(
        self,
        images: Sequence[Tensor],
        texts: Sequence[Tensor],
        lengths: Tensor,
        candidates: Tensor,
    ) -> tuple[Tensor, ...]:
        """``images [G, Q, R, ..], texts [N, L, ..], lengths [N], candidates [G, K]``.

        Returns:
            The scores ``[G, Q, K]``, then the `DeployedMatcher.pair_outputs`.
        """
        chosen = [_gather(text, candidates) for text in texts]
        outputs = self.deployed.match_outputs(chosen, _gather(lengths, candidates), images)
        return tuple(output.transpose(1, 2) for output in outputs)


def _gather(gallery: Tensor, candidates: Tensor) -> Tensor:
    """``[N, ...], [G, K] -> [G, K, ...]``."""
    rows = gallery.index_select(0, candidates.reshape(-1))
    return rows.reshape(*candidates.shape, *gallery.shape[1:])
