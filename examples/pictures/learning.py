"""A detector in training: which boxes it learns from in a batch of pictures, and its losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.pictures.geometry import centred, deltas_of, grid_of, overlaps
from itr_deploy.models.detector.config import STRIDE
from itr_deploy.models.detector.deployed import LevelledPooling
from itr_deploy.models.detector.network import Network
from itr_deploy.models.detector.plain.boxes import decoded

_FOREGROUND, _BACKGROUND = 0.5, 0.3  # overlap of an anchor with an object, from which, below which
_JITTERED, _PROPOSED = 6, 6  # regions of a picture that are learned from
_SHIFT, _GROWTH = 0.15, 0.2  # of the jittered ones, in sides and in logarithms of sides
_NOTHING = -1
_PLACE_WEIGHT = 4.0


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures and their objects.

    Attributes:
        images: `float32 [B, 3, side, side]`, prepared.
        boxes: `float32 [B, T, 4]` in pixels of the prepared pictures.
        classes: `int64 [B, T]`, from 1; -1 where a picture has fewer than T objects.
        attributes: `int64 [B, T]`, likewise.
    """

    images: Tensor
    boxes: Tensor
    classes: Tensor
    attributes: Tensor


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of a batch, differentiable, and what share of its regions was named right."""

    objectness: Tensor
    regression: Tensor
    classes: Tensor
    attributes: Tensor
    place: Tensor
    right_classes: float
    right_attributes: float

    @property
    def total(self) -> Tensor:
        """What is made smaller."""
        named = self.classes + self.attributes
        return self.objectness + self.regression + named + _PLACE_WEIGHT * self.place


class Learning(nn.Module):
    """A network and what it needs only while it learns.

    The published training regresses a region's box from its feature, by layers that no feature
    extraction reads. Here stands for them a layer that tells place and size: captions speak of
    both, and a feature that is pooled from a box would else know little of them.
    """

    def __init__(self, network: Network, side: int) -> None:
        """Take a network that is trained on prepared pictures of `side` pixels a side."""
        super().__init__()
        self.network, self.side = network, side
        self.pool = LevelledPooling(side)
        self.place = nn.Linear(network.config.feature_dim, 3)
        self.register_buffer("anchors", torch.tensor(network.config.anchors), persistent=False)

    def losses(self, batch: Batch) -> Losses:
        """What the network still gets wrong in a batch."""
        maps = self.network.backbone(batch.images)
        logits, deltas = self._proposing(maps)
        grid = grid_of(self.anchors, *maps.shape[2:])
        objectness, regression = self._proposal_losses(grid, logits, deltas, batch)
        with torch.no_grad():
            regions = self._sampled(grid, logits, deltas, batch)
        return self._region_losses(maps, regions, batch, objectness, regression)

    def _proposing(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, n]` and deltas `[B, n, 4]` of all anchors, in the order of (y, x, anchor)."""
        pairs, deltas = self.network.proposal_generator.rpn_head(maps)
        background, foreground = pairs.unflatten(1, (2, -1)).unbind(1)
        logits = (foreground - background).permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))

    def _proposal_losses(
        self, grid: Tensor, logits: Tensor, deltas: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Of every anchor; those on objects count together as much as all others do.

        An anchor that overlaps an object somewhat is neither; every object has at least one.
        """
        real = batch.classes >= 0
        found = overlaps(grid.expand(len(logits), -1, -1), batch.boxes)
        found = found.masked_fill(~real[:, None], 0)
        best, whose = found.max(2)
        favourite = ((found == found.amax(1, keepdim=True)) & (found > 0)).any(2)
        positive = (best >= _FOREGROUND) | favourite
        negative = (best < _BACKGROUND) & ~positive
        objectness = (
            functional.softplus(-logits[positive]).mean()
            + functional.softplus(logits[negative]).mean()
        ) / 2
        wanted = batch.boxes.gather(1, whose[:, :, None].expand(-1, -1, 4))
        targets = deltas_of(grid.expand_as(wanted)[positive], wanted[positive])
        return objectness, functional.smooth_l1_loss(deltas[positive], targets, beta=0.1) * 4

    def _sampled(self, grid: Tensor, logits: Tensor, deltas: Tensor, batch: Batch) -> Tensor:
        """Regions `[B, R, 4]` to learn from: objects' boxes moved a little, and proposals."""
        pictures = len(logits)
        real = (batch.classes >= 0).float()
        whose = torch.multinomial(real, _JITTERED, replacement=True)
        boxes = batch.boxes.gather(1, whose[:, :, None].expand(-1, -1, 4))
        sides = boxes[..., 2:] - boxes[..., :2] + 1
        moved = boxes[..., :2] + sides / 2 + sides * _SHIFT * torch.randn_like(sides)
        grown = sides * (_GROWTH * torch.randn_like(sides)).exp()
        jittered = centred(*moved.unbind(-1), *grown.unbind(-1))
        # The better an anchor's score the likelier; some are bad, as some proposals will be.
        chosen = torch.multinomial(logits.sigmoid() + 0.02, _PROPOSED)[:, :, None]
        chosen = chosen.expand(-1, -1, 4)
        anchors = grid.expand(pictures, -1, -1).gather(1, chosen).flatten(0, 1)
        proposed = decoded(anchors, deltas.gather(1, chosen).flatten(0, 1), 1.0, (1, 1, 1, 1))
        both = torch.cat([jittered, proposed.unflatten(0, (pictures, -1))], 1)
        both = both.clamp(0, self.side - 1)
        return torch.cat([both[..., :2], torch.maximum(both[..., 2:], both[..., :2] + 4)], -1)

    def _region_losses(
        self, maps: Tensor, regions: Tensor, batch: Batch, objectness: Tensor, regression: Tensor
    ) -> Losses:
        """Classes of all regions, attributes of those on objects, places of all."""
        real = batch.classes >= 0
        best, whose = overlaps(regions, batch.boxes).masked_fill(~real[:, None], 0).max(2)
        classes = batch.classes.gather(1, whose).masked_fill(best < _FOREGROUND, 0).flatten()
        attributes = batch.attributes.gather(1, whose).flatten()
        features = self._features(maps, regions)
        layers = self.network.roi_heads.box_predictor
        scores = layers.cls_score(features)
        table, first, second = layers.attribute_layers
        on_object = classes > 0
        joined = torch.cat([features, table(scores.argmax(1))], 1)[on_object]
        named = second(functional.relu(first(joined)))
        middle = (regions[..., :2] + regions[..., 2:]) / 2 / self.side
        size = (regions[..., 2:3] - regions[..., :1] + 1).log() - 3.5
        places = torch.cat([2 * middle - 1, size], -1).flatten(0, 1)
        return Losses(
            objectness,
            regression,
            functional.cross_entropy(scores, classes),
            functional.cross_entropy(named, attributes[on_object]),
            functional.smooth_l1_loss(self.place(features), places, beta=0.2),
            (scores[on_object].argmax(1) == classes[on_object]).float().mean().item(),
            (named.argmax(1) == attributes[on_object]).float().mean().item(),
        )

    def _features(self, maps: Tensor, regions: Tensor) -> Tensor:
        """Features `[B * R, D]` of regions of all pictures at once.

        The maps are stood on one another as one tall map, with rows of 0 between them, where a
        region that ends below its own map finds the 0 that a bin without a cell has.
        """
        pictures, channels, rows, columns = maps.shape
        apart = rows + 2
        tall = functional.pad(maps, (0, 0, 0, 2)).transpose(0, 1)
        tall = tall.reshape(1, channels, pictures * apart, columns)
        down = torch.arange(pictures) * (apart * STRIDE)
        zeros = torch.zeros_like(down)
        moved = regions + torch.stack([zeros, down, zeros, down], 1)[:, None]
        pooled = self.pool(tall, moved.flatten(0, 1))
        features: Tensor = self.network.roi_heads.res5(pooled).mean((2, 3))
        return features
