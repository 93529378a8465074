"""What all calls of one pair-scoring graph have in common, worked out once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from itr_deploy.bundle.manifest import (
    GraphInfo,
    HeldType,
    Manifest,
    TensorInfo,
    Workspace,
)
from itr_deploy.bundle.modality import Modality, Roles, other
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.encoding.encoded import Block
from itr_deploy.runtime.tiles import Cost, Limits

FLOAT_BYTES = 4
"""Gathered values are cast to float32, whatever type they are stored in, but for bytes."""
OF_BYTES = 2
"""A graph that multiplies bytes needs less than the matcher's scratch memory by this at least."""


@dataclass(frozen=True)
class PairPlan:
    """How to score queries of one modality with items stored in one type.

    Attributes:
        graph: The graph's name in the manifest.
        query_inputs: The graph's input for each of the query's tensors, by the tensor's name.
        item_inputs: The same for the gallery's items, including the scales of int8 tensors.
        takes_lengths: Whether the graph reads the lengths of texts.
        items: Most gallery items per call; None for any number.
        shared: Limits of a call whose queries share their candidates.
        own: Limits of a call whose queries each have their own.
    """

    graph: str
    query_inputs: Mapping[str, str]
    item_inputs: Mapping[str, str]
    takes_lengths: bool
    items: int | None
    shared: Limits
    own: Limits
    _modality: Modality
    _workspace: Workspace
    _item_values: int
    _position_values: int
    _value_bytes: int

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        backend: Backend,
        roles: Roles,
        limits: Limits,
        modality: Modality,
        storage: HeldType,
    ) -> PairPlan:
        """Read names and sizes from the manifest, and the graphs' size limits from the backend.

        Args:
            manifest: The bundle's manifest.
            backend: Runs the graphs.
            roles: Roles of the graphs that score.
            limits: Limits of any call.
            modality: The queries' modality.
            storage: Type of the gallery's tensors.

        Raises:
            EngineError: The graph's engine is missing or does not fit.
            KeyError: The bundle has no such graph.
        """
        name = manifest.graph(roles[modality], storage)
        graph, gallery = manifest.graphs[name], other(modality)
        items = _inputs(graph, gallery)
        item_values, position_values = _values(items.values())
        sizes = (backend.max_size(name, axis) for axis in ("queries", "groups", "candidates"))
        queries, groups, candidates = sizes
        shared = replace(limits, queries=queries, candidates=candidates)
        known = [size for size in (queries, groups) if size is not None]
        return cls(
            graph=name,
            query_inputs={short: given.name for short, given in _inputs(graph, modality).items()},
            item_inputs={short: given.name for short, given in items.items()},
            takes_lengths=any(given.name == "text_lengths" for given in graph.inputs),
            items=backend.max_size(name, "gallery"),
            shared=shared,
            own=replace(shared, queries=min(known, default=None)),
            _modality=modality,
            _workspace=manifest.workspace,
            _item_values=item_values,
            _position_values=position_values,
            _value_bytes=1 if storage == "uint8" else FLOAT_BYTES,
        )

    def cost(self, query: Block, items: Block) -> Cost:
        """Scratch memory for pairs from blocks of these sizes."""
        words, regions = query.positions, items.positions
        if self._modality == "image":
            words, regions = regions, words
        values = self._item_values + self._position_values * items.positions
        pair = self._workspace.pair_bytes(words, regions)
        if self._value_bytes == 1:
            pair //= OF_BYTES
        return Cost(pair, self._value_bytes * values)


def _inputs(graph: GraphInfo, modality: Modality) -> dict[str, TensorInfo]:
    """A graph's inputs for one modality, by the names of the stored tensors and their scales."""
    prefix = f"{modality}_"
    return {
        given.name.removeprefix(prefix): given
        for given in graph.inputs
        if given.name.startswith(prefix) and given.name != "text_lengths"
    }


def _values(inputs: Iterable[TensorInfo]) -> tuple[int, int]:
    """Values gathered per item: those of the whole item, and those of each position."""
    item = position = 0
    for given in inputs:
        sizes = given.shape[1:]
        values = math.prod(size for size in sizes if isinstance(size, int))
        if all(isinstance(size, int) for size in sizes):
            item += values
        else:
            position += values
    return item, position
