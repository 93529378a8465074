"""VSRN's image encoder with everything multiplied out that is constant after training."""

from __future__ import annotations

from torch import Tensor, nn

from itr_deploy.models.folding import FoldedGraphLayer, affine, linear_map, register
from itr_deploy.models.layers import gru_one_way, norm_over_regions
from itr_deploy.models.precision import full_precision
from itr_deploy.models.vsrn.plain import GraphLayer, ImageEncoder


class FoldedLayer(FoldedGraphLayer):
    """A `GraphLayer` on ``[N, R, D]`` with two D x D products instead of four."""

    def __init__(self, layer: GraphLayer) -> None:
        super().__init__(
            layer,
            left=linear_map(layer.theta),
            right=linear_map(layer.phi),
            inner=linear_map(layer.g),
            outer=linear_map(layer.get_submodule("W.0")).normed(layer.get_submodule("W.1")),
        )


class FoldedImageEncoder(nn.Module):
    """An `ImageEncoder`, ``[N, R, Di] -> [N, D]``, in a form that exports.

    It checks nothing: an image with a feature that is 0 in all regions becomes NaN, as published.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.config = encoder.config
        self.fc, self.img_rnn = encoder.fc, encoder.img_rnn
        self.layers = nn.ModuleList(FoldedLayer(layer) for layer in encoder.layers)
        if self.config.architecture == "f30k":
            scale, shift = affine(encoder.bn)
            register(self, encoder, scale=scale, shift=shift)

    @full_precision()  # each layer is cubic in its input
    def forward(self, features: Tensor) -> Tensor:
        """Image vectors."""
        regions = self.fc(features)
        if self.config.architecture == "coco":
            regions = norm_over_regions(regions)
        for layer in self.layers:
            regions = layer(regions)
        vector = gru_one_way(self.img_rnn, norm_over_regions(regions))[:, -1]
        if self.config.architecture == "f30k":
            vector = vector * self.scale + self.shift
        if self.config.image_norm:
            vector = vector / (vector * vector).sum(dim=1, keepdim=True).sqrt()
        return vector.abs() if self.config.absolute else vector
