"""A detector's two graphs: what is computed of a picture, and what of its proposals.

Norms are folded into the convolutions before them. RoIPool, for which TensorRT has no operator, is
written in ordinary ones that give the same numbers: the maximum over a rectangle is that of four
windows, whose sides are powers of two, that cover it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.detector.config import POOLED, STRIDE
from itr_deploy.models.detector.network import Network, NormedConvolution, VgPredictor
from itr_deploy.models.detector.pooling_bins import bins_up_to, most_cells
from itr_deploy.models.folding import normed_convolution
from itr_deploy.models.precision import full_precision, product_dtype


class DetectorGraph(nn.Module):
    """Prepared pictures ``[N, 3, H, W]`` -> res4, scores and deltas of all anchors."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.config = network.config
        self.backbone = folded(network.backbone)
        self.backbone.get_submodule("stem").add_module("pool", EvenPooling())
        head = network.proposal_generator.rpn_head
        self.conv = head.conv
        self.scores = _objectness(network)
        self.deltas = head.anchor_deltas

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[N, C, h, w]``, ``[N, h * w * A]`` and ``[N, h * w * A, 4]``."""
        res4 = self.backbone(image)
        hidden = torch.relu(self.conv(res4))
        with full_precision():  # they decide the order of the proposals, and cost little
            scores, deltas = self.scores(hidden), self.deltas(hidden)
        if self.config.is_caffe:
            scores = torch.sigmoid(scores)
        return (
            res4,
            scores.permute(0, 2, 3, 1).flatten(1),
            deltas.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)),
        )


class RegionsGraph(nn.Module):
    """A picture's map and boxes of it -> features and probabilities."""

    def __init__(self, network: Network, longest_side: int) -> None:
        """Fold the head.

        Args:
            network: The network as published.
            longest_side: Of resized pictures, in pixels: larger maps are pooled wrongly.
        """
        super().__init__()
        self.config = network.config
        self.pool = LevelledPooling(longest_side)
        self.res5 = folded(network.roi_heads.res5)
        self.predictor = network.roi_heads.box_predictor

    def forward(self, res4: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Compute what is known of boxes.

        Args:
            res4: ``[1, C, h, w]``, not below 0.
            boxes: ``[R, 4]`` in pixels of the resized picture.

        Returns:
            Features ``[R, D]``, class probabilities ``[R, K]``, attribute probabilities if there is
            a head, and the boxes' deltas ``[R, 4 (K - 1)]`` in ``frcnn-vg``.
        """
        features = self.res5(self.pool(res4, boxes)).mean((2, 3))
        with full_precision():  # an argmax decides which class's vector the attributes read
            scores = self.predictor.cls_score(features)
            outputs = [features, scores.softmax(1)]
            if self.config.attributes is not None:
                outputs.append(self._attributes(features, scores))
            if isinstance(self.predictor, VgPredictor):
                outputs.append(self.predictor.bbox_pred(features))
        return tuple(outputs)

    def _attributes(self, features: Tensor, scores: Tensor) -> Tensor:
        table, first, second = self.predictor.attribute_layers
        named = table.weight.index_select(0, scores.argmax(1))
        found: Tensor = second(functional.relu(first(torch.cat([features, named], 1))))
        return (found if self.config.is_caffe else found[:, :-1]).softmax(1)


class LevelledPooling(nn.Module):
    """RoIPool of a map that is not below 0: ``[1, C, h, w], [R, 4] -> [R, C, 14, 14]``.

    The map is pooled once with every window of 1, 2, 4, ... cells a side. Along an axis a bin is
    covered by two windows of the largest such length that is not longer: one from its first cell,
    one to its last. So a bin is the maximum of four numbers.
    """

    first: Tensor
    behind: Tensor
    levels: Tensor
    lengths: Tensor

    def __init__(self, longest_side: int) -> None:
        super().__init__()
        bins = bins_up_to(most_cells(longest_side))
        longest = bins.longest
        count = 1
        while 2**count < longest:
            count += 1
        levels = [min(max(cells, 1).bit_length() - 1, count - 1) for cells in range(longest + 1)]
        self.count = count
        for name, table in (
            ("first", bins.first),
            ("behind", bins.behind),
            ("levels", levels),
            ("lengths", [2**level for level in levels]),
        ):
            self.register_buffer(name, torch.as_tensor(table), persistent=False)

    def forward(self, res4: Tensor, boxes: Tensor) -> Tensor:
        """The maxima of all bins of all boxes; a bin without a cell is 0."""
        channels, height, width = res4.shape[1:]
        table = self._maps(res4).to(product_dtype.get())
        cells = _cells(boxes)
        x_level, x_places, x_full = self._axis(cells[:, 0], cells[:, 2], width)
        y_level, y_places, y_full = self._axis(cells[:, 1], cells[:, 3], height)
        level = y_level.unsqueeze(2) * self.count + x_level.unsqueeze(1)
        best: Tensor | None = None
        for y in y_places:
            row = (level * height + y.unsqueeze(2)) * width
            for x in x_places:
                place = row + x.unsqueeze(1)
                found = table.index_select(0, place.reshape(-1))
                best = found if best is None else torch.maximum(best, found)
        assert best is not None
        full = (y_full.unsqueeze(2) * x_full.unsqueeze(1)).to(best.dtype)
        best = best.reshape(-1, POOLED, POOLED, channels) * full.unsqueeze(3)
        return best.permute(0, 3, 1, 2)

    def _maps(self, res4: Tensor) -> Tensor:
        """The map pooled by every window, as rows ``[levels * levels * h * w, C]``."""
        height, width = res4.shape[2:]
        more = 2 ** (self.count - 1) - 1
        padded = functional.pad(res4, (0, more, 0, more))
        maps = []
        for rows in range(self.count):
            tall = functional.max_pool2d(padded[:, :, : height + 2**rows - 1], (2**rows, 1), 1)
            for columns in range(self.count):
                wide = tall[:, :, :, : width + 2**columns - 1]
                maps.append(functional.max_pool2d(wide, (1, 2**columns), 1))
        return torch.stack(maps, 2).flatten(2)[0].transpose(0, 1)

    def _axis(
        self, start: Tensor, end: Tensor, cells: Tensor | int
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Bins along one axis, ``int64 [R] -> [R, 14]``.

        Returns:
            The level of each bin's windows, where its two windows begin, and 1 where it has a cell.
        """
        count = (end - start + 1).clamp(1, len(self.first) - 1)
        first = (start.unsqueeze(1) + self.first.index_select(0, count)).clamp(min=0)
        behind = (start.unsqueeze(1) + self.behind.index_select(0, count)).clamp(min=0)
        first, behind = torch.clamp(first, max=cells), torch.clamp(behind, max=cells)
        length = behind - first
        flat = length.reshape(-1)
        level = self.levels.index_select(0, flat).reshape(-1, POOLED)
        window = self.lengths.index_select(0, flat).reshape(-1, POOLED)
        # Windows of a bin without cells may lie anywhere in the map.
        second = (behind - window).clamp(min=0)
        return level, (torch.clamp(first, max=cells - 1), second), (length > 0).to(torch.int64)


class EvenPooling(nn.Module):
    """The stem's pooling in ceil mode, of what is not below 0: a row and a column of 0 behind it.

    Both give equal sizes and numbers; the tracer reasons about the sizes of ceil mode for long.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)


def folded(module: nn.Module) -> nn.Module:
    """A copy whose convolutions hold the batch normalisations after them."""
    found = copy.deepcopy(module)
    for parent in list(found.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConvolution):
                setattr(parent, name, normed_convolution(child, child.norm))
    return found


def graphs_of(network: Network, longest_side: int) -> tuple[DetectorGraph, RegionsGraph]:
    """Both graphs' modules, for pictures resized to sides of at most this."""
    return DetectorGraph(network).eval(), RegionsGraph(network, longest_side).eval()


def _cells(boxes: Tensor) -> Tensor:
    """The cells of coordinates, rounded with halves upwards: exact, as adding a half is not."""
    return torch.floor((torch.floor(boxes * (2 / STRIDE)) + 1) * 0.5).to(torch.int64)


def _objectness(network: Network) -> nn.Conv2d:
    """What gives an anchor's logit: in ``bua-caffe`` its foreground's less its background's."""
    published = network.proposal_generator.rpn_head.objectness_logits
    if not network.config.is_caffe:
        return published
    weight, bias = published.weight.detach().double(), published.bias
    assert bias is not None
    anchors = len(network.config.anchors)
    layer = nn.Conv2d(published.in_channels, anchors, 1)
    layer.weight = nn.Parameter((weight[anchors:] - weight[:anchors]).float(), requires_grad=False)
    both = bias.detach().double()
    layer.bias = nn.Parameter((both[anchors:] - both[:anchors]).float(), requires_grad=False)
    return layer
