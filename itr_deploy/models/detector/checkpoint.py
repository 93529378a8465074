"""Reading a detector's weights from any of its published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from itr_deploy.bundle.detector import Dialect, Four
from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import build_loaded, load_checkpoint, state_dict
from itr_deploy.models.detector.config import CAFFE_MEAN, AttributeHead, DetectorConfig, Stage
from itr_deploy.models.detector.network import Network
from itr_deploy.models.family import checkpoint_errors

NAME = "region detector"

STEM = "backbone.stem.conv1.weight"
ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
HEAD = "proposal_generator.rpn_head"
PREDICTOR = "roi_heads.box_predictor"
RES5 = "roi_heads.res5"
STAGES = ("backbone.res2", "backbone.res3", "backbone.res4")

ATTRIBUTES: Mapping[Dialect, tuple[str, str, str]] = {
    "bua-caffe": ("cls_embed", "attr_linear1", "attr_linear2"),
    "frcnn-vg": ("cls_embedding", "fc_attr", "attr_score"),
}
"""The layers of each dialect's attribute head: a table of classes and two layers."""

MOST_BLOCKS = 100
MOST_ANCHORS = 1000


def read_network(checkpoint: Path) -> Network:
    """Read a detector's weights.

    Args:
        checkpoint: A ``.pth``, ``pytorch_model.bin`` or ``.pkl`` of the published programs, with
            the weights as tensors or as arrays, bare or as ``{"model": ...}``.

    Raises:
        CheckpointError: The file cannot be read safely, lacks weights, or is another network's.
    """
    with checkpoint_errors(checkpoint, NAME):
        content = load_checkpoint(checkpoint, expected=("model",), arrays=True)
        weights = state_dict(content["model"], source=checkpoint)
        config = _Weights(weights, checkpoint).config()
        unused = {"pixel_mean", "pixel_std"}
        if config.is_caffe:
            # Its regions are its proposals; only the published training reads their deltas.
            unused |= {f"{PREDICTOR}.bbox_pred.{part}" for part in ("weight", "bias")}
        used = {key: weight for key, weight in weights.items() if key not in unused}
        network = build_loaded(
            lambda: Network(config),
            {"": used},
            source=checkpoint,
            family=NAME,
            said_by="the others say",
        )
    return network.eval()


class _Weights:
    """A state dict, and what its shapes say."""

    def __init__(self, weights: Mapping[str, Tensor], source: Path) -> None:
        self._weights, self._source = weights, source

    def config(self) -> DetectorConfig:
        """What the network is built by.

        Raises:
            CheckpointError: A weight is missing, or they are another network's.
        """
        self._check_keys()
        anchors = self._anchors()
        dialect = self._dialect(len(anchors))
        self._check_picture()
        res2, res3, res4 = (self._stage(name) for name in STAGES)
        config = DetectorConfig(
            dialect=dialect,
            stem=self._shape(STEM, 4)[0],
            stages=(res2, res3, res4),
            head=self._stage(RES5),
            hidden=self._shape(f"{HEAD}.conv.weight", 4)[0],
            anchors=anchors,
            class_scores=self._shape(f"{PREDICTOR}.cls_score.weight", 2)[0],
            attributes=self._attributes(dialect),
        )
        self._check_classes(config)
        return config

    def _check_keys(self) -> None:
        """Refuse what is no detector at all, before its sizes are asked for."""
        needed = (STEM, *(f"{name}.0.conv1.weight" for name in STAGES), f"{RES5}.0.conv1.weight")
        missing = [key for key in needed if key not in self._weights]
        if missing:
            first = next(iter(self._weights), "nothing")
            raise CheckpointError(
                f"{self._source}: not a {NAME}'s checkpoint: no {missing[0]}; its keys begin with "
                f"{first!a:.80}; give the published file of bua-caffe (.pth) or frcnn-vg "
                "(pytorch_model.bin, .pkl)"
            )

    def _anchors(self) -> tuple[Four, ...]:
        if ANCHORS not in self._weights:
            raise CheckpointError(
                f"{self._source}: no {ANCHORS}: the anchors are a part of the weights, and sizes "
                "of a config are no substitute; give the published file"
            )
        count, four = self._shape(ANCHORS, 2)
        anchors = self._weights[ANCHORS].double()
        if four != 4 or not 1 <= count <= MOST_ANCHORS or not torch.isfinite(anchors).all():
            raise CheckpointError(
                f"{self._source}: {ANCHORS} has shape [{count}, {four}]; anchors are up to "
                f"{MOST_ANCHORS} rows of 4 finite numbers"
            )
        return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in anchors.tolist())

    def _dialect(self, anchors: int) -> Dialect:
        key = f"{HEAD}.objectness_logits.weight"
        rows = self._shape(key, 4)[0]
        dialects: dict[int, Dialect] = {2 * anchors: "bua-caffe", anchors: "frcnn-vg"}
        if rows not in dialects:
            raise CheckpointError(
                f"{self._source}: {key} has {rows} rows for {anchors} anchors; bua-caffe has "
                f"{2 * anchors}, frcnn-vg {anchors}: it is another network"
            )
        dialect = dialects[rows]
        other: Dialect = "frcnn-vg" if dialect == "bua-caffe" else "bua-caffe"
        odd = f"{PREDICTOR}.{ATTRIBUTES[other][0]}.weight"
        if odd in self._weights:
            raise CheckpointError(
                f"{self._source}: its {rows} objectness scores for {anchors} anchors are "
                f"{dialect}'s, its {odd} is {other}'s: it is another network, whose features no "
                "published matcher was trained on"
            )
        return dialect

    def _check_picture(self) -> None:
        """Refuse weights that were trained on other pictures than Caffe's."""
        for key, published in (("pixel_mean", CAFFE_MEAN), ("pixel_std", (1.0, 1.0, 1.0))):
            found = self._weights.get(key)
            if found is None:
                continue
            values = found.flatten().tolist()
            if len(values) != 3 or not torch.allclose(
                found.flatten().double(), torch.tensor(published, dtype=torch.float64), atol=1e-3
            ):
                raise CheckpointError(
                    f"{self._source}: {key} is {values!r:.60}, not {list(published)}: it is "
                    "another network"
                )

    def _stage(self, name: str) -> Stage:
        numbers = {
            key[len(name) + 1 :].partition(".")[0]
            for key in self._weights
            if key.startswith(f"{name}.")
        }
        if numbers != {str(number) for number in range(len(numbers))}:
            raise CheckpointError(
                f"{self._source}: {name} has blocks {', '.join(sorted(numbers))!a:.80}; they are "
                "numbered from 0"
            )
        if not 1 <= len(numbers) <= MOST_BLOCKS:
            raise CheckpointError(
                f"{self._source}: {name} has {len(numbers)} blocks; 1 to {MOST_BLOCKS} are possible"
            )
        width = self._shape(f"{name}.0.conv2.weight", 4)[0]
        return Stage(len(numbers), width, self._shape(f"{name}.0.conv3.weight", 4)[0])

    def _attributes(self, dialect: Dialect) -> AttributeHead | None:
        table, first, second = (f"{PREDICTOR}.{name}.weight" for name in ATTRIBUTES[dialect])
        if not any(key in self._weights for key in (table, first, second)):
            return None
        return AttributeHead(
            embedding=self._shape(table, 2)[1],
            hidden=self._shape(first, 2)[0],
            scores=self._shape(second, 2)[0],
        )

    def _check_classes(self, config: DetectorConfig) -> None:
        """Compare the classes with the boxes' deltas: who counts the background differs."""
        key = f"{PREDICTOR}.bbox_pred.weight"
        wanted = 4 * (config.class_scores if config.is_caffe else config.classes)
        if key in self._weights and (found := self._shape(key, 2)[0]) != wanted:
            raise CheckpointError(
                f"{self._source}: {key} has {found} rows; {config.class_scores} class scores of "
                f"{config.dialect} have {wanted}: it is another network"
            )
        if config.class_scores < 2:
            raise CheckpointError(f"{self._source}: it has no class but the background")
        if config.attributes is not None and config.attributes.scores < 2:
            raise CheckpointError(f"{self._source}: it has no attribute but the one for none")

    def _shape(self, key: str, axes: int) -> tuple[int, ...]:
        if key not in self._weights:
            raise CheckpointError(f"{self._source}: not the weights of a {NAME}: missing [{key!r}]")
        shape = tuple(self._weights[key].shape)
        if len(shape) != axes or 0 in shape:
            raise CheckpointError(
                f"{self._source}: {key} has shape {list(shape)}, expected {axes} axes"
            )
        return shape
