"""The shapes that an engine accepts: a range for every dynamic axis of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from itr_deploy.bundle.detector import LEAST_SIDE, DetectorManifest
from itr_deploy.bundle.manifest import GraphInfo, Manifest, StoredTensor
from itr_deploy.bundle.modality import ENCODERS, PREFILTERS, REFINERS, query_of
from itr_deploy.bundle.store import AnyManifest
from itr_deploy.engines.files import ShapeRange
from itr_deploy.errors import EngineError, UsageError

MOST_ELEMENTS = 2**31 - 1
"""Most elements of a tensor that TensorRT accepts."""
SCRATCH = 4 << 30
"""Bytes that all pairs of a matcher's largest call may take, by the manifest's estimate.

A context reserves memory for the largest shapes of its engine's profile.
"""

ENCODED, QUERIES, CANDIDATES, GALLERY = 64, 32, 1000, 1_000_000
WORDS, REGIONS = 64, 100
PICTURES, LONGEST_SIDE = 4, 4096
SIDES = {"height": (480, LONGEST_SIDE), "width": (640, LONGEST_SIDE)}
"""Usual and largest sides of a picture; its bytes become float32 before it is made smaller."""


@dataclass(frozen=True)
class Range:
    """Sizes of an axis: the smallest, the one the engine is fastest at, and the largest."""

    min: int
    opt: int
    max: int


BOUNDS = ("min", "opt", "max")


@dataclass(frozen=True)
class Overrides:
    """Sizes given by the user, by axis."""

    min: Mapping[str, int] = field(default_factory=dict)
    opt: Mapping[str, int] = field(default_factory=dict)
    max: Mapping[str, int] = field(default_factory=dict)

    def check_axes(self, manifest: AnyManifest, graphs: Iterable[str]) -> None:
        """Check that every axis belongs to one of these graphs.

        Raises:
            UsageError: One does not; the message names the axes that do.
        """
        known = {axis for name in graphs for axis in _axes(manifest.graphs[name])}
        for bound, sizes in self.bounds():
            for axis in sizes.keys() - known:
                there = ", ".join(sorted(known))
                raise UsageError(
                    f"{bound}_shapes= (--{bound}-shapes): no axis {axis!r}; the graphs have {there}"
                )

    def apply(self, axis: str, default: Range) -> Range:
        """A default range with the given sizes; the other bounds adjust to them.

        Raises:
            UsageError: The sizes given for this axis contradict each other.
        """
        given = {bound: sizes[axis] for bound, sizes in self.bounds() if axis in sizes}
        if sorted(given.values()) != list(given.values()) or min(given.values(), default=1) < 1:
            said = ", ".join(f"{bound} {size}" for bound, size in given.items())
            raise UsageError(f"axis {axis}: {said}; must be 1 <= min <= opt <= max")
        smallest, largest = min(given.values(), default=0), max(given.values(), default=0)
        least = given.get("min", min(default.min, smallest or default.min))
        most = given.get("max", max(default.max, largest))
        return Range(least, given.get("opt", min(max(default.opt, least), most)), most)

    def bounds(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        """The sizes of each bound: ``min``, ``opt`` and ``max``."""
        yield from (("min", self.min), ("opt", self.opt), ("max", self.max))


def largest(axis: str, shapes: Iterable[tuple[Sequence[int | str], Sequence[int]]]) -> int | None:
    """Largest size of an axis that all inputs accept, None if none has the axis.

    Args:
        axis: The axis's name.
        shapes: The axes of every input and their largest sizes.
    """
    sizes = (
        size for axes, most in shapes for name, size in zip(axes, most, strict=True) if name == axis
    )
    return min(sizes, default=None)


def profile_of(manifest: AnyManifest, graph: str, overrides: Overrides) -> dict[str, ShapeRange]:
    """Shapes of every input of a graph, by the input's name.

    Args:
        manifest: The bundle's manifest.
        graph: Name of the graph.
        overrides: Sizes that replace the defaults.

    Raises:
        EngineError: The graph has an axis that this version has no sizes for.
        UsageError: The overrides contradict each other or the model, or make a tensor too large.
    """
    info = manifest.graphs[graph]
    if isinstance(manifest, DetectorManifest):
        ranges = {
            axis: overrides.apply(axis, _detectors_default(manifest, info, axis))
            for axis in _axes(info)
        }
    else:
        ranges = _Defaults(manifest, info, overrides).ranges()
    profile = {}
    for given in info.inputs:
        least, best, most = (
            tuple(
                getattr(ranges[axis], bound) if isinstance(axis, str) else axis
                for axis in given.shape
            )
            for bound in BOUNDS
        )
        if math.prod(most) > MOST_ELEMENTS:
            named = ", ".join(
                f"{axis} {ranges[axis].max}" for axis in given.shape if axis in ranges
            )
            raise UsageError(
                f"{graph}: {given.name} of {named} has {math.prod(most):,} elements, TensorRT "
                f"takes {MOST_ELEMENTS:,} in a tensor; give a smaller max_shapes= (--max-shapes)"
            )
        profile[given.name] = ShapeRange(min=least, opt=best, max=most)
    return profile


class _Defaults:
    """The ranges of one graph; one that depends on another uses the user's sizes for that one."""

    def __init__(self, manifest: Manifest, info: GraphInfo, overrides: Overrides) -> None:
        self._manifest, self._info, self._overrides = manifest, info, overrides
        self._axes = _axes(info)
        self._done: dict[str, Range] = {}

    def ranges(self) -> dict[str, Range]:
        return {axis: self._range(axis) for axis in self._axes}

    def _range(self, axis: str) -> Range:
        if axis not in self._done:
            self._done[axis] = self._overrides.apply(axis, self._default(axis))
        longest = self._manifest.texts.max_tokens
        if axis == "length" and self._done[axis].max > longest:
            raise UsageError(
                f"axis length: max {self._done[axis].max}; the model's texts have at most "
                f"{longest} tokens"
            )
        return self._done[axis]

    def _default(self, axis: str) -> Range:
        if axis == "batch":
            encodes = self._info.role in ENCODERS
            if not encodes:
                return Range(1, 1, QUERIES)
            return Range(1, 1, PICTURES) if "height" in self._axes else Range(1, 8, ENCODED)
        if axis in ("height", "width"):
            return Range(1, *SIDES[axis])
        if axis == "length":
            longest = min(WORDS, self._manifest.texts.max_tokens)
            return Range(1, min(16, longest), longest)
        if axis == "regions":
            return Range(1, 36, REGIONS)
        if axis == "candidates":
            width = self._width()
            return Range(1, width, max(width, CANDIDATES))
        if axis == "queries":
            return Range(
                1, 1, min(QUERIES, max(1, self._most_pairs() // self._most(axis="candidates")))
            )
        if axis == "groups":
            return Range(1, 1, self._most(axis="queries"))
        if axis == "gallery":
            most = min(GALLERY, MOST_ELEMENTS // self._widest())
            return Range(1, min(1000, most), most)
        known = "batch, height, width, length, regions, candidates, queries, groups and gallery"
        raise EngineError(
            f"{self._info.file}: has an axis {axis!r}, this version knows {known}; "
            "upgrade with pip install -U itr-deploy"
        )

    def _width(self) -> int:
        """The shortlist's width, or a full call's if a search scores every item."""
        pipeline, role = self._manifest.pipeline, self._info.role
        query = query_of(role)
        assert query is not None, f"{role} scores no candidates"
        if role in PREFILTERS.values():
            return pipeline.prefilter_width(query) or CANDIDATES
        if role in REFINERS.values():
            return pipeline.refine_width(query) or CANDIDATES
        return pipeline.width(query) or CANDIDATES

    def _most(self, axis: str) -> int:
        return self._range(axis).max if axis in self._axes else 1

    def _most_pairs(self) -> int:
        """How many pairs with the longest texts and the most regions fit into `SCRATCH`."""
        texts, images = self._manifest.texts, self._manifest.images
        words = self._positions("length", texts.tensors, texts.length or WORDS)
        regions = self._positions("regions", images.tensors, images.regions or REGIONS)
        # Each pair also needs its item, gathered from the gallery, in float32.
        item = 4 * sum(map(math.prod, self._gallery_rows()))
        return SCRATCH // (self._manifest.workspace.pair_bytes(words, regions) + item)

    def _positions(self, axis: str, tensors: Sequence[StoredTensor], most: int) -> int:
        """The largest size of an axis for the workspace's estimate; the graph may lack the axis."""
        if not any(tensor.per_position for tensor in tensors):
            return 1
        return self._range(axis).max if axis in self._axes else most

    def _widest(self) -> int:
        """Number of elements per item in the widest gallery tensor."""
        return max(map(math.prod, self._gallery_rows()))

    def _gallery_rows(self) -> Iterator[tuple[int, ...]]:
        """The largest shape of an item, for every gallery tensor."""
        for given in self._info.inputs:
            if given.shape[0] == "gallery":
                yield tuple(
                    self._range(axis).max if isinstance(axis, str) else axis
                    for axis in given.shape[1:]
                )


def _detectors_default(manifest: DetectorManifest, info: GraphInfo, axis: str) -> Range:
    """The range of an axis of a detector's graph.

    Raises:
        EngineError: This version has no sizes for the axis.
    """
    most = manifest.sides.longest
    usual = {
        "height": min(manifest.sides.shortest, most),
        "width": min(round(manifest.sides.shortest * 4 / 3), most),
    }
    known = {
        "batch": Range(1, 1, PICTURES),
        "regions": Range(1, manifest.chunk, manifest.chunk),
        **{side: Range(LEAST_SIDE, best, most) for side, best in usual.items()},
    }
    for side, cells in (("height", "rows"), ("width", "columns")):
        least, best, largest = (-(-getattr(known[side], b) // manifest.stride) for b in BOUNDS)
        known[cells] = Range(least, best, largest)
    if axis not in known:
        raise EngineError(
            f"{info.file}: has an axis {axis!r}, this version knows {', '.join(known)}; upgrade "
            "with pip install -U itr-deploy"
        )
    return known[axis]


def _axes(info: GraphInfo) -> tuple[str, ...]:
    """The named axes of a graph's inputs, each once."""
    named = (axis for given in info.inputs for axis in given.shape if isinstance(axis, str))
    return tuple(dict.fromkeys(named))
