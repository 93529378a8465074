"""Counting the use of DIME's routes over pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.dime.routes import CELLS, OFF_THRESHOLD, PATHS, path_name
from itr_deploy.models.dime.uses import RouteUse, SkipUse

Pairs = NDArray[np.floating]
LAST = len(PATHS) - 1


class RouteCounter:
    """Adds up gates, tile by tile.

    Attributes:
        outputs: Names of the matcher's outputs that `add` reads.
        absent: Message for a bundle without them.
    """

    outputs: tuple[str, ...] = (
        "paths_layer0",
        "gates_layer0",
        "paths_layer1",
        "gates_layer1",
        "paths_layer2",
    )
    absent = "its graphs do not tell their gates; export it again with gates='yes' (--gates yes)"

    def __init__(self) -> None:
        self._pairs = 0
        shapes = [(paths, len(CELLS)) for paths in PATHS]
        self._zero, self._sum, self._share = ([np.zeros(s) for s in shapes] for _ in range(3))
        skips = [(PATHS[0],), (PATHS[1],), (1, len(CELLS))]
        self._skipped, self._skip_share = ([np.zeros(s) for s in skips] for _ in range(2))

    def add(self, outputs: Mapping[str, Pairs]) -> None:
        """Count the pairs of a tile; each output is ``[..., paths, cells]``."""
        for layer, paths in enumerate(PATHS):
            divided = outputs[f"paths_layer{layer}"].reshape(-1, paths, len(CELLS))
            if layer == LAST:
                gates = divided
                off = gates < OFF_THRESHOLD / len(CELLS)
                total = (gates + off).sum(axis=-1, keepdims=True)
                shares, skips = gates / total, off / total
            else:
                gates = outputs[f"gates_layer{layer}"].reshape(divided.shape)
                shares, off = divided, gates.sum(axis=-1) < OFF_THRESHOLD
                skips = off
            self._zero[layer] += (gates == 0).sum(axis=0)
            self._sum[layer] += gates.sum(axis=0, dtype=np.float64)
            self._share[layer] += shares.sum(axis=0, dtype=np.float64)
            self._skipped[layer] += off.sum(axis=0)
            self._skip_share[layer] += skips.sum(axis=0, dtype=np.float64)
        self._pairs += len(divided)

    def profile(self, evidence: ProfileEvidence, data: str | None) -> RouteProfile:
        """The counts, with the evidence for them."""
        return RouteProfile(
            pairs=self._pairs,
            evidence=evidence,
            data=data,
            routes=tuple(
                RouteUse(
                    layer=layer,
                    cell=name,
                    path=path_name(layer, path),
                    zero=self._zero[layer][path, cell] / self._pairs,
                    mean=self._sum[layer][path, cell] / self._pairs,
                    share=self._share[layer][path, cell] / self._pairs,
                )
                for layer, paths in enumerate(PATHS)
                for path in range(paths)
                for cell, name in enumerate(CELLS)
            ),
            skips=tuple(self._skips()),
        )

    def _skips(self) -> list[SkipUse]:
        uses = []
        for layer in range(len(PATHS)):
            counts = zip(self._skipped[layer].ravel(), self._skip_share[layer].ravel(), strict=True)
            for place, (used, share) in enumerate(counts):
                cell, path = (CELLS[place], 0) if layer == LAST else (CELLS[0], place)
                uses.append(
                    SkipUse(
                        layer=layer,
                        cell=cell,
                        path=path_name(layer, path),
                        used=used / self._pairs,
                        share=share / self._pairs,
                    )
                )
        return uses
