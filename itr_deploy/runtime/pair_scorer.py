"""Scoring pairs through a bundle's matcher or prefilter graphs, in tiles of bounded memory."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Manifest, StorageType
from itr_deploy.bundle.modality import MATCHERS, Modality, Roles, other
from itr_deploy.runtime.backends.base import Backend, Call
from itr_deploy.runtime.encoding.encoded import Block, Encoded, divided

TILE_BYTES = 128 << 20
"""Scratch memory of one call at most: larger tiles were no faster (docs/performance.md)."""

LEAST_PAIRS = 8
"""A call with fewer costs as much: nothing is gained by dividing it among threads."""

Outputs = Mapping[str, NDArray[np.float32]]
Observer = Callable[[Outputs], None]
Place = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of queries, and columns of items."""

T = TypeVar("T")


class PairScorer:
    """Scores queries with gallery items, both encoded."""

    def __init__(
        self, backend: Backend, manifest: Manifest, memory_budget: int, roles: Roles = MATCHERS
    ) -> None:
        """Take the backend, the bytes that a call may use for scratch, and whose graphs score."""
        self._backend = backend
        self._manifest = manifest
        self._roles = roles
        self._reads = {
            name: frozenset(given.name for given in graph.inputs)
            for name, graph in manifest.graphs.items()
        }
        self._workers = backend.workers
        self._budget = min(memory_budget, TILE_BYTES) // self._workers
        cpu_pairs = manifest.workspace.cpu_pairs if backend.device == "cpu" else None
        self._most_pairs = cpu_pairs or sys.maxsize

    def score_all(
        self,
        queries: Encoded,
        gallery: Encoded,
        rows: NDArray[np.int64] | None = None,
        observe: Observer | None = None,
    ) -> NDArray[np.float32]:
        """Every query with every item, or with those at ``rows``: ``float32 [Q, N]``.

        ``observe`` is called with all outputs of the matcher graph for each tile of the pairs,
        by name, ``[queries, items, ...]``.
        """
        if rows is None:
            rows = np.arange(len(gallery))
        scores = np.empty((len(queries), len(rows)), np.float32)
        for (place, columns), tile in self._all_tiles(queries, gallery, rows):
            scores[np.ix_(place, columns)] = tile["scores"]
            if observe is not None:
                observe(tile)
        return scores

    def score_with(
        self, queries: Encoded, gallery: Encoded, output: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`score_all`, and another output of the matcher graph.

        Args:
            queries: Q encoded queries.
            gallery: N encoded items of the other modality.
            output: Its name.

        Returns:
            Scores ``float32 [Q, N]`` and the output's values ``float32 [Q, N, ...]``.

        Raises:
            KeyError: The graph has no such output.
        """
        graph = self._manifest.graphs[
            self._manifest.graph(self._roles[queries.modality], "float32")
        ]
        shape = {entry.name: entry.shape for entry in graph.outputs}[output][2:]
        pairs = len(queries), len(gallery)
        scores = np.empty(pairs, np.float32)
        values = np.empty((*pairs, *map(int, shape)), np.float32)
        for (place, columns), tile in self._all_tiles(queries, gallery, np.arange(len(gallery))):
            scores[np.ix_(place, columns)] = tile["scores"]
            values[np.ix_(place, columns)] = tile[output]
        return scores, values

    def _all_tiles(
        self, queries: Encoded, gallery: Encoded, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Place, Outputs]]:
        """Places of queries and of ``rows``, and the graph's outputs for all of their pairs."""
        return self._run_all(self._jobs(queries, gallery, rows))

    def _jobs(
        self, queries: Encoded, gallery: Encoded, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Place, Call]]:
        gallery = self._divided(gallery)
        block_of, local_of = (places[rows] for places in gallery.places)
        for number, block in enumerate(gallery.blocks):
            columns = np.flatnonzero(block_of == number)
            if not columns.size:
                continue
            local = local_of[columns]
            tiles = [
                (query, q, k)
                for query in queries.blocks
                for q, k in self._tiles(queries.modality, query, block, len(local))
            ]
            items = self._kept(block, len(tiles))
            for query, q, k in tiles:
                call = self._call(queries.modality, query, q, items, local[None, k])
                yield (query.rows[q], columns[k]), call

    def resident(self, gallery: Encoded) -> Encoded:
        """A gallery that stays in memory: in the blocks that are scored, and known to the backend.

        Raises:
            EngineError: The matcher's engine is missing or does not fit.
            SetupError: The GPU's memory is short.
        """
        gallery = self._divided(gallery)
        for block in gallery.blocks:
            self._backend.pin(block.arrays)
        return gallery

    def _divided(self, gallery: Encoded) -> Encoded:
        """The gallery in blocks that the graph takes."""
        query, types = other(gallery.modality), {block.storage for block in gallery.blocks}
        sizes = [size for t in types for size in self._limits(self._graph(query, t), "gallery")]
        return divided(gallery, min(sizes)) if sizes else gallery

    def _kept(self, block: Block, calls: int) -> Block:
        """A block that several calls take: the backend knows its arrays until the last of them."""
        if calls < 2:
            return block
        # Views that die with these calls, though the block itself may live on.
        passing = block.take(slice(None), block.rows)
        self._backend.pin(passing.arrays)
        return passing

    def reads(self, gallery: Modality, storage: StorageType) -> frozenset[str]:
        """Names of the tensors of gallery items that are read."""
        names = self._reads[self._graph(other(gallery), storage)]
        prefix = f"{gallery}_"
        return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def _graph(self, modality: Modality, storage: StorageType) -> str:
        """The graph for queries of a modality over items stored in a type."""
        return self._manifest.graph(self._roles[modality], storage)

    def _run_all(self, jobs: Iterable[tuple[T, Call]]) -> Iterator[tuple[T, Outputs]]:
        """Run the calls; each result comes with what came with its call."""
        places: deque[T] = deque()

        def calls() -> Iterator[Call]:
            for place, call in jobs:
                places.append(place)
                yield call

        for outputs in self._backend.run_all(calls()):
            yield places.popleft(), outputs

    def score_candidates(
        self, queries: Encoded, gallery: Encoded, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Each query with its own items.

        Args:
            queries: Q encoded queries.
            gallery: Encoded items of the other modality.
            candidates: ``int64 [Q, K]``, row numbers in the gallery.

        Returns:
            ``float32 [Q, K]``.
        """
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

    def _ragged(
        self,
        modality: Modality,
        query: Block,
        items: Block,
        local: NDArray[np.int64],
        wanted: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Scores where ``wanted``, row by row; rows are filled up to one width for the graph."""
        counts = wanted.sum(axis=1)
        width = int(counts.max())
        filled = np.arange(width) < counts[:, None]
        padded = np.zeros((len(counts), width), np.int64)
        padded[filled] = local[wanted]
        scores = np.empty(padded.shape, np.float32)
        tiles = list(self._tiles(modality, query, items, width, shared=False))
        items = self._kept(items, len(tiles))
        jobs = (((q, k), self._call(modality, query, q, items, padded[q, k])) for q, k in tiles)
        for place, outputs in self._run_all(jobs):
            scores[place] = outputs["scores"]
        chosen: NDArray[np.float32] = scores[filled]
        return chosen

    def _call(
        self,
        modality: Modality,
        query: Block,
        q: slice,
        items: Block,
        candidates: NDArray[np.int64],
    ) -> Call:
        graph, gallery = self._graph(modality, items.storage), other(modality)
        inputs: dict[str, NDArray[Any]] = {
            f"{modality}_{n}": t[q] for n, t in query.tensors.items()
        }
        inputs |= {f"{gallery}_{name}": t for name, t in items.tensors.items()}
        inputs = {name: array for name, array in inputs.items() if name in self._reads[graph]}
        inputs["candidates"] = candidates
        if query.lengths is not None:
            inputs["text_lengths"] = query.lengths[q]
        elif items.lengths is not None:
            inputs["text_lengths"] = items.lengths
        return graph, inputs

    def _tiles(
        self, modality: Modality, query: Block, items: Block, width: int, shared: bool = True
    ) -> Iterator[tuple[slice, slice]]:
        """Slices of queries and candidates whose scratch memory fits the budget."""
        graph = self._graph(modality, items.storage)
        pair = self._pair_bytes(modality, query, items)
        item = self._item_bytes(graph, other(modality), items)
        rows = len(query.rows)
        # One tile a worker at least.
        share = -(-rows * width // self._workers)
        most = min(self._most_pairs, max(LEAST_PAIRS, share))
        per_call = min(most, max(1, self._budget // (pair + item)))
        k_step = min(width, per_call)
        if shared:
            # Gathered once for all queries of a tile: more queries cost only their pairs. Of tiles
            # with so many pairs one about as high as it is wide gathers least.
            k_step = min(k_step, most // max(1, min(rows, math.isqrt(most))))
            q_step = max(1, (self._budget - k_step * item) // max(1, k_step * pair))
            q_step = max(1, min(q_step, most // k_step))
        else:
            q_step = max(1, per_call // k_step)
        axes = ("queries",) if shared else ("queries", "groups")
        q_step = min([q_step, *self._limits(graph, *axes)])
        k_step = min([k_step, *self._limits(graph, "candidates")])
        for q in range(0, rows, q_step):
            for k in range(0, width, k_step):
                yield slice(q, min(q + q_step, rows)), slice(k, min(k + k_step, width))

    def _limits(self, graph: str, *axes: str) -> list[int]:
        found = (self._backend.max_size(graph, axis) for axis in axes)
        return [size for size in found if size is not None]

    def _pair_bytes(self, modality: Modality, query: Block, items: Block) -> int:
        words, regions = query.positions, items.positions
        if modality == "image":
            words, regions = regions, words
        return self._manifest.workspace.pair_bytes(words, regions)

    def _item_bytes(self, graph: str, modality: Modality, items: Block) -> int:
        """Bytes of one gathered item in float32."""
        names = self._reads[graph]
        read = [t for name, t in items.tensors.items() if f"{modality}_{name}" in names]
        return sum(4 * int(np.prod(t.shape[1:])) for t in read)
