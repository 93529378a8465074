"""Golden cases of LeaPRR: results of the published program with small random weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tests.support.golden import DATA

DIRECTIONS = {"text": "t2i", "image": "i2t"}
"""The published program's names for the directions, by the query's modality."""

PUBLISHED_ROWS = {"text": 8, "image": 32}


@dataclass(frozen=True)
class RerankCase:
    name: str

    @property
    def folder(self) -> Path:
        return DATA / "leaprr" / self.name

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint_best.pth"

    @cached_property
    def options(self) -> dict:
        return json.loads((self.folder / "case.json").read_bytes())

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        return self._arrays("inputs")

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        return self._arrays("expected")

    @cached_property
    def graph(self) -> dict[str, np.ndarray]:
        return self._arrays("graph")

    @property
    def heads(self) -> int:
        return self.options["num_heads"]

    def rows(self, query: str) -> int:
        return self.options[f"topk_{DIRECTIONS[query]}"]

    def threshold(self, query: str) -> float:
        return self.options["coef"] / PUBLISHED_ROWS[query]

    def given(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """Affinities and edges of a few queries."""
        name = DIRECTIONS[query]
        return self.inputs[f"affinity_{name}"], self.inputs[f"adjacency_{name}"]

    def scores(self, query: str) -> np.ndarray:
        return self.expected[f"scores_{DIRECTIONS[query]}"]

    def edges(self, query: str) -> np.ndarray:
        """The edges of every query, from `similarities`."""
        return self.graph[f"adjacency_{DIRECTIONS[query]}"]

    def similarities(self, query: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cross scores ``[queries, items]``, intra-similarity of the queries and of the items."""
        cross_scores, images, texts = (self.graph[f"sim_{name}"] for name in ("i2t", "i2i", "t2t"))
        return (cross_scores.T, texts, images) if query == "text" else (cross_scores, images, texts)

    def words(self, base: Path) -> tuple[object, ...]:
        """The arguments of ``itr-deploy export`` that add the re-ranker to a bundle."""
        files = ("--checkpoint", self.checkpoint, "--base", base)
        return "leaprr", *files, *self.export_options

    @property
    def export_options(self) -> tuple[str, ...]:
        rows = [str(self.rows(query)) for query in ("text", "image")]
        options = ("--heads", str(self.heads), "--rows-text-to-image", rows[0])
        return (*options, "--rows-image-to-text", rows[1])

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as stored:
            return dict(stored)


SMALL = RerankCase("k12_k6_l8")
PUBLISHED = RerankCase("k32_k8_l64")
RERANK_CASES = (SMALL, PUBLISHED)
