"""Whether the parts of a detector's manifest fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from itr_deploy.bundle.consistency import refuse_first
from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.bundle.manifest import GraphInfo
from itr_deploy.bundle.store import DetectorBundle

Part = Literal["detector", "regions"]
Sizes = tuple[int | None, ...]
"""Of the axes; None is any size, or a dynamic one."""

PARTS: tuple[Part, ...] = ("detector", "regions")
"""Names and roles of a detector's graphs."""


def check_detector(bundle: DetectorBundle) -> None:
    """Refuse a detector whose manifest contradicts itself, or that lacks a graph.

    Raises:
        BundleError: Names the first contradiction.
    """
    refuse_first(_contradictions(bundle.manifest), bundle.path)


def _contradictions(manifest: DetectorManifest) -> Iterator[str]:
    for part in PARTS:
        graph = manifest.graphs.get(part)
        if graph is None or graph.role != part:
            yield f"there is no graph {part!r}"
        else:
            yield from _graph(graph, *_expected(manifest, part))
    selection = manifest.selection
    if selection.min_boxes > selection.max_boxes:
        yield f"at least {selection.min_boxes} regions and at most {selection.max_boxes}"
    port = manifest.dialect == "frcnn-vg"
    if (selection.delta_weights is None) == port or (selection.confidence is None) != port:
        yield f"the selection is not one of {manifest.dialect}"


def _expected(manifest: DetectorManifest, part: Part) -> tuple[dict[str, Sizes], dict[str, Sizes]]:
    """What a graph takes and gives."""
    if part == "detector":
        return (
            {"image": (None, 3, None, None)},
            {"res4": (None,) * 4, "scores": (None, None), "deltas": (None, None, 4)},
        )
    outputs: dict[str, Sizes] = {
        "features": (None, manifest.feature_dim),
        "class_probabilities": (None, manifest.classes + 1),
    }
    port = manifest.dialect == "frcnn-vg"
    if manifest.attributes is not None:
        # Caffe's have one for "none".
        outputs["attribute_probabilities"] = (None, manifest.attributes + (not port))
    if port:
        outputs["deltas"] = (None, 4 * manifest.classes)
    return {"res4": (1, None, None, None), "boxes": (None, 4)}, outputs


def _graph(graph: GraphInfo, inputs: dict[str, Sizes], outputs: dict[str, Sizes]) -> Iterator[str]:
    for kind, wanted, entries in (
        ("input", inputs, graph.inputs),
        ("output", outputs, graph.outputs),
    ):
        found = {entry.name: entry for entry in entries}
        for name in found.keys() - wanted.keys():
            yield f"{graph.file} has an {kind} {name!r}, which a detector of this kind has not"
        for name, sizes in wanted.items():
            entry = found.get(name)
            if entry is None:
                yield f"{graph.file} has no {kind} {name!r}"
                continue
            fits = len(entry.shape) == len(sizes) and all(
                size in (None, own) for size, own in zip(sizes, entry.shape, strict=True)
            )
            if not fits or entry.dtype != "float32":
                shape = ", ".join(map(str, entry.shape))
                yield f"{graph.file} has an {kind} {name!r} of {entry.dtype} [{shape}]"
