"""The torch modules behind a bundle's graphs, made from any family's `DeployedMatcher`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from itr_deploy.bundle.manifest import Precision
from itr_deploy.models.contract import DeployedMatcher
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.quantised import quantised_products


class Quantised(nn.Module):
    """A module whose Linears are computed in int8."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        """As the module's."""
        with quantised_products():
            return self.module(*inputs)


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
    """Scores of text queries with the candidates they name in an image gallery."""

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
        """``texts [Q, L, ..], lengths [Q], images [N, R, ..], candidates [Q, K] -> [Q, K]``.

        The scores, then the `DeployedMatcher.pair_outputs`.
        """
        grouped = [_group(text, candidates) for text in texts]
        chosen = [_gather(image, candidates) for image in images]
        outputs = self.deployed.match_outputs(grouped, _group(lengths, candidates), chosen)
        return tuple(_by_query(output, lengths.shape[0]) for output in outputs)


class ImageToTextModule(nn.Module):
    """Scores of image queries with the candidates they name in a text gallery."""

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
        """``images [Q, R, ..], texts [N, L, ..], lengths [N], candidates [Q, K] -> [Q, K]``.

        The scores, then the `DeployedMatcher.pair_outputs`.
        """
        grouped = [_group(image, candidates) for image in images]
        chosen = [_gather(text, candidates) for text in texts]
        outputs = self.deployed.match_outputs(chosen, _gather(lengths, candidates), grouped)
        return tuple(_by_query(output.transpose(1, 2), images[0].shape[0]) for output in outputs)


def _group(queries: Tensor, candidates: Tensor) -> Tensor:
    """``[Q, ...] -> [groups, Q / groups, ...]``: the queries that share a row of candidates.

    With ``[1, K]`` candidates all queries are one group, and the gallery is gathered once.
    """
    groups = candidates.shape[0]
    return queries.reshape(groups, queries.shape[0] // groups, *queries.shape[1:])


def _gather(gallery: Tensor, candidates: Tensor) -> Tensor:
    """``[N, ...], [groups, K] -> [groups, K, ...]``."""
    rows = gallery.index_select(0, candidates.reshape(-1))
    return rows.reshape(*candidates.shape, *gallery.shape[1:])


def _by_query(output: Tensor, queries: int) -> Tensor:
    """``[groups, Q / groups, K, ...] -> [Q, K, ...]``."""
    return output.reshape(queries, *output.shape[2:])
