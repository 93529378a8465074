"""Scoring pairs through a bundle's graphs that do, in tiles of bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import HeldType, Manifest, StorageType
from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, REFINERS, Modality, Roles, other
from itr_deploy.runtime.backends.base import Backend, Call
from itr_deploy.runtime.encoding.checks import check_scores
from itr_deploy.runtime.encoding.encoded import Block, Encoded, divided
from itr_deploy.runtime.pair_plan import PairPlan
from itr_deploy.runtime.scorer import Observer, Outputs
from itr_deploy.runtime.tiles import Limits, Tile, tiles

TILE_BYTES = 128 << 20
"""Most scratch memory of one call: larger tiles were no faster (docs/performance.md)."""

Place = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of queries, and columns of items."""

T = TypeVar("T")

_PARTS = {MATCHERS["text"]: "matcher", PREFILTERS["text"]: "prefilter", REFINERS["text"]: "refiner"}


class PairScorer:
    """A `Scorer` by a bundle's matcher, prefilter or refiner graphs."""

    def __init__(
        self, backend: Backend, manifest: Manifest, memory_budget: int, roles: Roles = MATCHERS
    ) -> None:
        """Set up scoring; what a graph needs is worked out when it is first used.

        Args:
            backend: Runs the graphs.
            manifest: The bundle's manifest.
            memory_budget: Bytes of scratch memory for all concurrent calls together.
            roles: Which graphs score: the matcher's, the prefilter's or the refiner's.
        """
        self._backend = backend
        self._manifest = manifest
        self._roles = roles
        self._part = _PARTS[roles["text"]]
        self._limits = Limits(
            budget=min(memory_budget, TILE_BYTES) // backend.workers,
            workers=backend.workers,
            pairs=manifest.workspace.cpu_pairs if backend.device == "cpu" else None,
        )
        self._plans: dict[tuple[Modality, HeldType], PairPlan] = {}

    def score_all(
        self,
        queries: Encoded,
        gallery: Encoded,
        rows: NDArray[np.int64] | None = None,
        observe: Observer | None = None,
    ) -> NDArray[np.float32]:
        """Score every query with every item, or with those at ``rows``; see `Scorer`."""
        if rows is None:
            rows = np.arange(len(gallery))
        scores = np.empty((len(queries), len(rows)), np.float32)
        for (place, columns), tile in self._run_all(self._jobs(queries, gallery, rows)):
            scores[np.ix_(place, columns)] = tile["scores"]
            if observe is not None:
                observe(tile)
        return scores

    def score_with(
        self, queries: Encoded, gallery: Encoded, output: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score as `score_all` does, and also return another output of the matcher graph.

        Raises:
            KeyError: The graph has no such output.
        """
        graph = self._manifest.graph(self._roles[queries.modality], "float32")
        outputs = self._manifest.graphs[graph].outputs
        shape = {entry.name: entry.shape for entry in outputs}[output][2:]
        pairs = len(queries), len(gallery)
        scores = np.empty(pairs, np.float32)
        values = np.empty((*pairs, *map(int, shape)), np.float32)
        jobs = self._jobs(queries, gallery, np.arange(len(gallery)))
        for (place, columns), tile in self._run_all(jobs):
            scores[np.ix_(place, columns)] = tile["scores"]
            values[np.ix_(place, columns)] = tile[output]
        return scores, values

    def score_candidates(
        self, queries: Encoded, gallery: Encoded, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score each query with its own items; see `Scorer`."""
        scores = np.empty(candidates.shape, np.float32)
        gallery = self._divided(gallery)
        block_of, local_of = gallery.places
        for query in queries.blocks:
            for number, items in enumerate(gallery.blocks):
                wanted = block_of[candidates[query.rows]] == number
                if wanted.any():
                    local = local_of[candidates[query.rows]]
                    part = self._ragged(queries.modality, query, items, local, wanted)
                    mine = scores[query.rows]
                    mine[wanted] = part
                    scores[query.rows] = mine
        return scores

    def resident(self, gallery: Encoded) -> Encoded:
        """A gallery that stays in memory, in blocks the graph takes and pinned in the backend.

        Raises:
            EngineError: The matcher's engine is missing or does not fit.
            SetupError: The GPU has too little memory.
        """
        gallery = self._divided(gallery)
        for block in gallery.blocks:
            self._backend.pin(block.arrays)
        return gallery

    def reads(self, gallery: Modality, storage: StorageType) -> frozenset[str]:
        """Names of the gallery items' tensors that the graph reads."""
        return frozenset(self._plan(other(gallery), storage).item_inputs)

    def in_bytes(self, gallery: Modality) -> frozenset[str]:
        """Names of the gallery items' tensors that it can read as bytes; see `Scorer`."""
        for graph in self._manifest.graphs.values():
            if graph.role == self._roles[other(gallery)] and graph.storage == "uint8":
                names = (given.name for given in graph.inputs if given.dtype == "uint8")
                return frozenset(name.removeprefix(f"{gallery}_") for name in names)
        return frozenset()

    def _plan(self, modality: Modality, storage: HeldType) -> PairPlan:
        """The plan for queries of one modality over items stored in one type."""
        key = modality, storage
        if key not in self._plans:
            # Two threads may make the same plan; one of the two is kept.
            self._plans[key] = PairPlan.of(
                self._manifest, self._backend, self._roles, self._limits, *key
            )
        return self._plans[key]

    def _jobs(
        self, queries: Encoded, gallery: Encoded, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Place, Call]]:
        """Calls that score all queries with the items at ``rows``, and the places of their pairs.

        Columns are numbered from the first of ``rows``.
        """
        gallery = self._divided(gallery)
        block_of, local_of = (places[rows] for places in gallery.places)
        for number, block in enumerate(gallery.blocks):
            columns = np.flatnonzero(block_of == number)
            if not columns.size:
                continue
            local = local_of[columns]
            plan = self._plan(queries.modality, block.storage)
            parts = [
                (query, q, k)
                for query in queries.blocks
                for q, k in _tiles(plan, query, block, len(local), shared=True)
            ]
            items = self._pinned(block, len(parts))
            for query, q, k in parts:
                call = _call(plan, query, q, items, local[None, k])
                yield (query.rows[q], columns[k]), call

    def _ragged(
        self,
        modality: Modality,
        query: Block,
        items: Block,
        local: NDArray[np.int64],
        wanted: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Scores where ``wanted``, row by row; rows are padded to one width for the graph."""
        counts = wanted.sum(axis=1)
        width = int(counts.max())
        filled = np.arange(width) < counts[:, None]
        padded = np.zeros((len(counts), width), np.int64)
        padded[filled] = local[wanted]
        scores = np.empty(padded.shape, np.float32)
        plan = self._plan(modality, items.storage)
        parts = _tiles(plan, query, items, width, shared=False)
        items = self._pinned(items, len(parts))
        jobs = (((q, k), _call(plan, query, q, items, padded[q, k])) for q, k in parts)
        for place, outputs in self._run_all(jobs):
            scores[place] = outputs["scores"]
        chosen: NDArray[np.float32] = scores[filled]
        return chosen

    def _divided(self, gallery: Encoded) -> Encoded:
        """The gallery in blocks no larger than the graph takes."""
        modality = other(gallery.modality)
        types = {block.storage for block in gallery.blocks}
        sizes = [self._plan(modality, storage).items for storage in types]
        known = [size for size in sizes if size is not None]
        return divided(gallery, min(known)) if known else gallery

    def _pinned(self, block: Block, calls: int) -> Block:
        """The block; if several calls take it, pinned in the backend until the last of them."""
        if calls < 2:
            return block
        # Views that die with these calls, though the block itself may live on.
        passing = block.take(slice(None), block.rows)
        self._backend.pin(passing.arrays)
        return passing

    def _run_all(self, jobs: Iterable[tuple[T, Call]]) -> Iterator[tuple[T, Outputs]]:
        """Run the calls; each result comes with its call's place."""
        places: deque[T] = deque()

        def calls() -> Iterator[Call]:
            for place, call in jobs:
                places.append(place)
                yield call

        for outputs in self._backend.run_all(calls()):
            check_scores(outputs["scores"], self._part)
            yield places.popleft(), outputs


def _tiles(plan: PairPlan, query: Block, items: Block, width: int, shared: bool) -> list[Tile]:
    """Slices of the queries and of each query's ``width`` candidates."""
    limits = plan.shared if shared else plan.own
    return tiles(len(query.rows), width, plan.cost(query, items), limits, shared)


def _call(
    plan: PairPlan, query: Block, q: slice, items: Block, candidates: NDArray[np.int64]
) -> Call:
    """The call that scores some queries of a block with ``candidates [groups, k]`` of another."""
    inputs: dict[str, NDArray[Any]] = {"candidates": candidates}
    for name, given in plan.query_inputs.items():
        inputs[given] = query.tensors[name][q]
    for name, given in plan.item_inputs.items():
        inputs[given] = items.tensors[name]
    if plan.takes_lengths:
        lengths = items.lengths if query.lengths is None else query.lengths[q]
        if lengths is not None:
            inputs["text_lengths"] = lengths
    return plan.graph, inputs
