"""What a detector is run with besides its weights: sides, counts and thresholds.

``bua-caffe`` has published values, which its program's yaml may change; ``frcnn-vg`` has none but
those of its ``config.yaml``. What a user gives at export replaces either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from itr_deploy.bundle.detector import Dialect, Proposals, Selection, Sides
from itr_deploy.errors import InputError, UsageError
from itr_deploy.models.checkpoints.first_bytes import first_bytes, foreign
from itr_deploy.models.detector.config import CAFFE_MEAN
from itr_deploy.values import shown

MOST_BYTES = 1 << 20
"""Of a config; published ones have two thousand."""

SIDES = Sides(shortest=600, longest=1000)
PROPOSALS = Proposals(considered=6000, kept=300, overlap=0.7, min_side=16)
SELECTION = Selection(
    min_boxes=36, max_boxes=36, overlaps=(0.3,), confidence=0.2, delta_weights=None
)
"""What ``bua-caffe`` was published with; its other selection is 10 to 100."""


@dataclass(frozen=True)
class Settings:
    """How pictures are resized, and proposals and regions chosen."""

    sides: Sides
    proposals: Proposals
    selection: Selection


@dataclass(frozen=True)
class Given:
    """What a user gives in place of published values; None for those.

    Attributes:
        boxes: Least and most regions.
        proposals: Proposals that are kept.
        considered: Proposals that take part in the suppression.
        shortest_side: Shorter side of a resized picture.
        longest_side: Longest side of a resized picture.
    """

    boxes: tuple[int, int] | None = None
    proposals: int | None = None
    considered: int | None = None
    shortest_side: int | None = None
    longest_side: int | None = None


def settings_of(
    dialect: Dialect,
    config: Path | None,
    given: Given,
    *,
    classes: int | None = None,
    attributes: int | None = None,
) -> Settings:
    """The settings of a detector.

    Args:
        dialect: The weights' conventions.
        config: The program's yaml: ``config.yaml`` of ``frcnn-vg``, which must be given, or one of
            ``bua-caffe``'s.
        given: What replaces its values.
        classes: How many the weights have, without the background; None not to compare.
        attributes: How many the weights have, without "none"; None not to compare.

    Raises:
        InputError: The config cannot be read, lacks a value, or describes another network.
        UsageError: ``frcnn-vg`` is given no config, or what is given contradicts itself.
    """
    if config is None and dialect == "frcnn-vg":
        raise UsageError(
            "frcnn-vg has its sides, counts and thresholds in a file beside its weights: give "
            "config= (--config config.yaml)"
        )
    found = Settings(SIDES, PROPOSALS, SELECTION)
    if config is not None:
        entries = _Entries(_yaml(config, dialect), config)
        if dialect == "bua-caffe":
            found = _caffe(entries)
        else:
            counts = {"roi_heads.num_classes": classes, "roi_box_head.num_attrs": attributes}
            entries.refuse_counts(counts)
            found = _vg(entries)
        entries.check_boxes(found.selection, given)
    return _changed(found, given)


def _changed(found: Settings, given: Given) -> Settings:
    """The settings with what a user gave."""
    sides = found.sides.model_copy(
        update=_given(shortest=given.shortest_side, longest=given.longest_side)
    )
    if sides.shortest > sides.longest:
        raise UsageError(
            f"a picture's shorter side of {sides.shortest} is above the most of its longer one, "
            f"{sides.longest}; give shortest_side= (--shortest-side) and longest_side= "
            "(--longest-side) together"
        )
    proposals = found.proposals.model_copy(
        update=_given(kept=given.proposals, considered=given.considered)
    )
    if proposals.kept > proposals.considered:
        raise UsageError(
            f"{proposals.kept} proposals cannot be kept of {proposals.considered}; give fewer "
            "proposals= (--proposals) or more considered= (--considered)"
        )
    selection = found.selection
    if given.boxes is not None:
        least, most = given.boxes
        selection = selection.model_copy(update={"min_boxes": least, "max_boxes": most})
    if selection.min_boxes > selection.max_boxes:
        raise UsageError(
            f"{selection.min_boxes} to {selection.max_boxes} regions: the least is above the most; "
            "give boxes= (--boxes) as 36 or 10-100"
        )
    if selection.min_boxes > proposals.kept:
        raise UsageError(
            f"{selection.min_boxes} regions cannot be found among {proposals.kept} proposals; give "
            "fewer boxes= (--boxes) or more proposals= (--proposals)"
        )
    return Settings(sides, proposals, selection)


def _given(**values: int | None) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def _caffe(entries: _Entries) -> Settings:
    """The settings of a yaml of ``bua-caffe``'s program; what it leaves out is as published."""
    entries.refuse("_BASE_", None, "it builds on another file, which is not read")
    network = "it describes another network"
    entries.refuse("MODEL.RESNETS.STRIDE_IN_1X1", True, network)
    entries.refuse("MODEL.BUA.RESNET_VERSION", 1, network)
    entries.refuse("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool", network)
    entries.refuse("MODEL.PIXEL_MEAN", list(CAFFE_MEAN), network)
    entries.refuse("MODEL.PIXEL_STD", [1.0, 1.0, 1.0], network)
    rpn, extractor = "MODEL.RPN", "MODEL.BUA.EXTRACTOR"
    return entries.settings(
        {
            "shortest": entries.get("INPUT.MIN_SIZE_TEST", SIDES.shortest),
            "longest": entries.get("INPUT.MAX_SIZE_TEST", SIDES.longest),
        },
        {
            "considered": entries.get(f"{rpn}.PRE_NMS_TOPK_TEST", PROPOSALS.considered),
            "kept": entries.get(f"{rpn}.POST_NMS_TOPK_TEST", PROPOSALS.kept),
            "overlap": entries.get(f"{rpn}.NMS_THRESH", PROPOSALS.overlap),
            "min_side": entries.get("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", PROPOSALS.min_side),
        },
        {
            "min_boxes": entries.get(f"{extractor}.MIN_BOXES", SELECTION.min_boxes),
            "max_boxes": entries.get(f"{extractor}.MAX_BOXES", SELECTION.max_boxes),
            "overlaps": [entries.get("MODEL.ROI_HEADS.NMS_THRESH_TEST", SELECTION.overlaps[0])],
            "confidence": entries.get(f"{extractor}.CONF_THRESH", SELECTION.confidence),
            "delta_weights": None,
        },
    )


def _vg(entries: _Entries) -> Settings:
    """The settings of ``frcnn-vg``'s ``config.yaml``, every one of which is its own."""
    network = "it describes another network"
    entries.refuse("model.max_pool", True, network)
    entries.refuse("resnets.stride_in_1x1", True, network)
    entries.refuse("roi_box_head.res5halve", False, network)
    entries.refuse("roi_box_head.pooler_type", "ROIPool", network)
    entries.refuse("model.pixel_mean", list(CAFFE_MEAN), network)
    entries.refuse("model.pixel_std", [1.0, 1.0, 1.0], network)
    overlaps = entries.get("roi_heads.nms_thresh_test")
    return entries.settings(
        {
            "shortest": entries.get("input.min_size_test"),
            "longest": entries.get("input.max_size_test"),
        },
        {
            "considered": entries.get("rpn.pre_nms_topk_test"),
            "kept": entries.get("rpn.post_nms_topk_test"),
            "overlap": entries.get("rpn.nms_thresh"),
            "min_side": entries.get("proposal_generator.min_size"),
            "delta_weights": entries.get("rpn.bbox_reg_weights"),
        },
        {
            "min_boxes": entries.get("min_detections"),
            "max_boxes": entries.get("max_detections"),
            "overlaps": overlaps if isinstance(overlaps, list) else [overlaps],
            "confidence": None,
            "delta_weights": entries.get("roi_box_head.bbox_reg_weights"),
        },
    )


class _Entries:
    """A yaml's values, by dotted names."""

    def __init__(self, content: Mapping[Any, Any], source: Path) -> None:
        self._content, self._source = content, source

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A value.

        Raises:
            InputError: It is missing, and there is none otherwise.
        """
        found: Any = self._content
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None and otherwise is None:
            raise InputError(
                f"{self._source}: no {name} in it; give the config.yaml that came with the weights"
            )
        return otherwise if found is None else found

    def refuse(self, name: str, published: Any, why: str) -> None:
        """Refuse a value that is there and is not the published one.

        Raises:
            InputError: It is another.
        """
        found = self.get(name, published) if published is not None else self._content.get(name)
        if found != published:
            must = "" if published is None else f", not {published}"
            raise InputError(f"{self._source}: {name} is {shown(found)}{must}: {why}")

    def refuse_counts(self, counts: Mapping[str, int | None]) -> None:
        """Refuse numbers that are not those of the weights.

        Raises:
            InputError: One differs; the file came with other weights.
        """
        for name, count in counts.items():
            found = count if count is None else self.get(name, count)
            if found != count:
                raise InputError(
                    f"{self._source}: {name} is {shown(found)}, and the weights have {count}; give "
                    "the config.yaml that came with them"
                )

    def check_boxes(self, selection: Selection, given: Given) -> None:
        """Refuse a least number of regions above the most, unless a user gives others.

        Raises:
            InputError: It is.
        """
        least, most = selection.min_boxes, selection.max_boxes
        if given.boxes is None and least > most:
            raise InputError(
                f"{self._source}: at least {least} and at most {most} regions contradict each "
                "other; mend it, or give boxes= (--boxes)"
            )

    def settings(
        self, sides: dict[str, Any], proposals: dict[str, Any], selection: dict[str, Any]
    ) -> Settings:
        """The records of these values.

        Raises:
            InputError: One is of another type, or out of range.
        """
        try:
            return Settings(
                Sides.model_validate(sides),
                Proposals.model_validate(proposals),
                Selection.model_validate(selection),
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{self._source}: {where}={shown(first['input'])}: {first['msg']}"
            ) from error


def _yaml(path: Path, dialect: Dialect) -> Mapping[Any, Any]:
    """The content of a yaml file of names and values.

    Raises:
        InputError: It cannot be read, is something else, or another program's.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    head = first_bytes(path)
    other = foreign(path, head)
    if other is not None:
        raise InputError(f"{path}: {other.what}, not a config; {other.remedy}")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: has more than {MOST_BYTES:,} bytes; it is no config")
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as yaml: {said}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds {shown(content)}, not names and values")
    section, program = ("MODEL", "bua-caffe") if dialect == "bua-caffe" else ("model", "frcnn-vg")
    if section not in content:
        raise InputError(
            f"{path}: no {section} in it; the weights are {program}'s, whose config has one"
        )
    return content
