"""A whole detector in PyTorch, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from itr_deploy.models.detector.network import Network, VgPredictor
from itr_deploy.models.detector.plain.pooling import pooled
from itr_deploy.models.detector.plain.preparing import Prepared, prepared
from itr_deploy.models.detector.plain.proposals import proposed
from itr_deploy.models.detector.plain.selection import Selected, selected
from itr_deploy.models.detector.settings import Settings

AT_ONCE = 50
"""Regions that go through res5 together: their maps alone are some hundred megabytes."""


@dataclass(frozen=True, eq=False)
class Dense:
    """What is computed of the whole picture, before anything is chosen.

    Attributes:
        res4: ``[1, C, h, w]``.
        scores: ``[1, h * w * A]``: the foreground's probability, or a logit in ``frcnn-vg``.
        deltas: ``[1, h * w * A, 4]``.
    """

    res4: Tensor
    scores: Tensor
    deltas: Tensor


@dataclass(frozen=True, eq=False)
class Heads:
    """What is computed of proposals.

    Attributes:
        features: ``[R, D]``.
        classes: ``[R, K]``, probabilities, the background's among them.
        attributes: ``[R, 400]``, or with "none" where ``bua-caffe`` counts it; None without a head.
        deltas: ``[R, 4 (K - 1)]`` in ``frcnn-vg``.
    """

    features: Tensor
    classes: Tensor
    attributes: Tensor | None
    deltas: Tensor | None


@dataclass(frozen=True, eq=False)
class PlainRegions:
    """A picture's regions.

    Attributes:
        boxes: ``[n, 4]`` in pixels of the picture.
        features: ``[n, D]``.
        classes: ``int64 [n]``, counted without the background.
        class_scores: ``[n]``, their probabilities.
        attributes: ``int64 [n]``, counted without "none"; None without a head.
        attribute_scores: ``[n]``.
    """

    boxes: Tensor
    features: Tensor
    classes: Tensor
    class_scores: Tensor
    attributes: Tensor | None
    attribute_scores: Tensor | None


class PlainDetector:
    """A network with its settings, for one picture at a time."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network = network
        self.config = network.config
        self.settings = settings

    @torch.inference_mode()
    def regions(self, picture: Tensor) -> PlainRegions:
        """The regions of a picture, ``uint8 [H, W, 3]`` in red, green, blue."""
        ready = self.prepared(picture)
        dense = self.dense(ready.image)
        proposals, _ = self.proposals(ready, dense)
        heads = self.heads(dense.res4, proposals)
        return self.told(heads, self.selected(ready, proposals, heads))

    def prepared(self, picture: Tensor) -> Prepared:
        """A picture ``uint8 [H, W, 3]`` as the network reads it."""
        return prepared(self.config.dialect, picture, self.settings.sides)

    @torch.inference_mode()
    def dense(self, image: Tensor) -> Dense:
        """What is computed of prepared pictures ``[N, 3, H, W]`` as a whole."""
        res4 = self.network.backbone(image)
        logits, deltas = self.network.proposal_generator.rpn_head(res4)
        anchors, (rows, columns) = len(self.config.anchors), res4.shape[2:]
        if self.config.is_caffe:
            logits = logits.unflatten(1, (2, anchors)).softmax(1)[:, 1]
        deltas = deltas.unflatten(1, (anchors, 4)).permute(0, 3, 4, 1, 2)
        return Dense(
            res4,
            logits.permute(0, 2, 3, 1).flatten(1),
            deltas.reshape(len(image), rows * columns * anchors, 4),
        )

    @torch.inference_mode()
    def proposals(self, picture: Prepared, dense: Dense) -> tuple[Tensor, Tensor]:
        """Boxes ``[R, 4]`` of a picture's proposals in the resized picture, and their scores."""
        rows, columns = dense.res4.shape[2:]
        return proposed(
            self.config,
            self.settings.proposals,
            picture,
            (rows, columns),
            dense.scores[0],
            dense.deltas[0],
        )

    @torch.inference_mode()
    def heads(self, res4: Tensor, boxes: Tensor) -> Heads:
        """What is computed of boxes ``[R, 4]`` of a picture's map ``[1, C, h, w]``."""
        features = torch.cat(
            [
                self.network.roi_heads.res5(pooled(res4[0], part)).mean((2, 3))
                for part in torch.split(boxes, AT_ONCE)
                if len(part)
            ]
            or [torch.zeros(0, self.config.feature_dim)]
        )
        layers = self.network.roi_heads.box_predictor
        scores = layers.cls_score(features)
        return Heads(
            features,
            scores.softmax(1),
            self._attributes(features, scores),
            layers.bbox_pred(features) if isinstance(layers, VgPredictor) else None,
        )

    def selected(self, picture: Prepared, proposals: Tensor, heads: Heads) -> Selected:
        """Which proposals become regions."""
        return selected(
            self.config, self.settings.selection, picture, proposals, heads.classes, heads.deltas
        )

    def told(self, heads: Heads, chosen: Selected) -> PlainRegions:
        """The regions with what is known of them."""
        real = slice(1, None) if self.config.is_caffe else slice(-1)
        class_scores, classes = heads.classes[chosen.places, real].max(1)
        attributes = attribute_scores = None
        if heads.attributes is not None:
            named = heads.attributes[chosen.places, int(self.config.is_caffe) :]
            attribute_scores, attributes = named.max(1)
        return PlainRegions(
            chosen.boxes,
            heads.features[chosen.places],
            classes,
            class_scores,
            attributes,
            attribute_scores,
        )

    def _attributes(self, features: Tensor, scores: Tensor) -> Tensor | None:
        if self.config.attributes is None:
            return None
        table, first, second = self.network.roi_heads.box_predictor.attribute_layers
        named = table(scores.argmax(1))
        hidden = functional.relu(first(torch.cat([features, named], 1)))
        found: Tensor = second(hidden)
        return (found if self.config.is_caffe else found[:, :-1]).softmax(1)
