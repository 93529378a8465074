"""Golden cases of the region detectors: from picture files to regions, with small networks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itr_deploy.bundle.detector import DetectorManifest, Dialect, Proposals, Selection, Sides
from itr_deploy.bundle.manifest import Provenance
from itr_deploy.runtime.detector.preparing import Prepared, prepared
from itr_deploy.runtime.detector.proposals import Candidates
from itr_deploy.runtime.detector.selection import Judged
from tests.support.golden import DATA

REACHES = {
    "bua-caffe": [(11, 5.5), (34, 17.5), (68.5, 35.5), (114.5, 59.5)],
    "frcnn-vg": [(11.5, 6), (34.5, 18), (69, 36), (115, 60)],
}
"""Half of the width and height of the cell anchors that are wider than high."""
SQUARES = {"bua-caffe": [7.5, 23.5, 47.5, 79.5], "frcnn-vg": [8, 24, 48, 80]}
UPRIGHT = {
    "bua-caffe": [(5, 10.5), (16, 32.5), (32.5, 65.5), (54.5, 109.5)],
    "frcnn-vg": [(5.5, 11), (16.5, 33), (33, 66), (55, 110)],
}


@dataclass(frozen=True)
class RegionCase:
    """A golden case.

    Attributes:
        name: Of its folder.
        dialect: The conventions of its program.
    """

    name: str
    dialect: Dialect

    @property
    def folder(self) -> Path:
        return DATA / "regions" / self.name

    @cached_property
    def options(self) -> dict[str, Any]:
        return json.loads((self.folder / "case.json").read_bytes())

    @property
    def checkpoint(self) -> Path:
        return self.folder / self.options["checkpoint"]

    @property
    def export_words(self) -> tuple[object, ...]:
        """What ``itr-deploy export`` takes, but for its output."""
        if self.dialect == "frcnn-vg":
            config = ("--config", self.folder / "config.yaml")
            return "regions", "--checkpoint", self.checkpoint, *config
        sides = ("--shortest-side", self.sides.shortest, "--longest-side", self.sides.longest)
        counts = ("--considered", self.proposals.considered, "--proposals", self.proposals.kept)
        return "regions", "--checkpoint", self.checkpoint, *sides, *counts

    @property
    def pictures(self) -> list[Path]:
        return [self.folder / name for name in self.options["pictures"]]

    @property
    def selections(self) -> list[str]:
        return list(self.options["selections"])

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "expected.npz") as stored:
            return dict(stored)

    @property
    def sides(self) -> Sides:
        return Sides(shortest=176, longest=272 if self.dialect == "bua-caffe" else 296)

    @property
    def proposals(self) -> Proposals:
        if self.dialect == "bua-caffe":
            return Proposals(considered=76, kept=54, overlap=0.7, min_side=16)
        return Proposals(considered=125, kept=56, overlap=0.7, min_side=22)

    def selection(self, name: str) -> Selection:
        given = self.options["selections"][name]
        if self.dialect == "bua-caffe":
            return Selection(**given, overlaps=(0.3,), confidence=0.2, delta_weights=None)
        return Selection(
            min_boxes=given["min_detections"],
            max_boxes=given["max_detections"],
            overlaps=tuple(given["nms_thresholds"]),
            confidence=None,
            delta_weights=(10, 10, 5, 5),
        )

    @property
    def manifest(self) -> DetectorManifest:
        """The settings, without graphs."""
        return DetectorManifest(
            dialect=self.dialect,
            sides=self.sides,
            proposals=self.proposals,
            selection=self.selection("fixed"),
            anchors=cell_anchors(self.dialect),
            stride=16,
            feature_dim=128,
            classes=37 if self.dialect == "bua-caffe" else 23,
            attributes=12,
            chunk=50,
            graphs={},
            encoding_id="none",
            provenance=Provenance(checkpoint="", checkpoint_sha256="", created="", versions={}),
            files={},
        )

    def prepared(self, number: int) -> Prepared:
        pixels = np.asarray(Image.open(self.pictures[number]).convert("RGB"))
        return prepared(pixels, str(number), self.dialect, self.sides)

    def candidates(self, number: int) -> Candidates:
        """What the published first network gives, as a detector's graph gives it."""
        logits = self.expected[f"rpn_logits_{number}"]
        deltas = self.expected[f"rpn_deltas_{number}"]
        grid = logits.shape[1:]
        if self.dialect == "bua-caffe":
            background, foreground = np.split(logits, 2)
            logits = 1 / (1 + np.exp(background - foreground))
        boxes = deltas.reshape(-1, 4, *grid).transpose(2, 3, 0, 1).reshape(-1, 4)
        return Candidates(logits.transpose(1, 2, 0).reshape(-1), boxes, grid)

    def judged(self, number: int) -> Judged:
        """What the published second network says, as a detector's graph gives it."""
        found, features = self.expected, self.expected[f"pooled_{number}"]
        if self.dialect == "bua-caffe":
            own = (found[f"{name}_probs_{number}"] for name in ("class", "attr"))
            return Judged(features, *own, None)
        classes = softmax(found[f"class_logits_{number}"])
        attributes = softmax(found[f"attr_logits_{number}"][:, :-1])
        return Judged(features, classes, attributes, found[f"box_deltas_{number}"])


def cell_anchors(dialect: Dialect) -> tuple[tuple[float, float, float, float], ...]:
    """The cell anchors in the checkpoint of a case."""
    middle = 7.5 if dialect == "bua-caffe" else 0
    reaches = [*REACHES[dialect], *((side, side) for side in SQUARES[dialect]), *UPRIGHT[dialect]]
    return tuple((middle - x, middle - y, middle + x, middle + y) for x, y in reaches)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


BUA_CAFFE = RegionCase("bua_caffe", "bua-caffe")
FRCNN_VG = RegionCase("frcnn_vg", "frcnn-vg")
REGION_CASES = (BUA_CAFFE, FRCNN_VG)
PIXEL, OTHER = 1e-3, 1e-4
"""Largest differences of boxes, and of the rest."""
