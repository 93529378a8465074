"""DIME's three layers over all pairs, from what the encoders stored per item.

The routing graph is static: all cells are computed for every pair, and the gates are weights.
Cells whose gates are all held at 0 (`Routes`) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from itr_deploy.models.dime import pairs
from itr_deploy.models.dime.cells import DynamicLayer
from itr_deploy.models.dime.pairs import Context
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.pooling import Pooling
from itr_deploy.models.dime.routes import CELLS, CMRC, GLGC, IMRC, OFF_THRESHOLD, RIC, Routes

_PARTS_OF_LAYER0 = {
    "relu": (1.0, 0.0, 0.0, 0.0, 1.0),
    "local": (0.0, 1.0, 0.0, 1.0, 0.0),
    "reasoned": (0.0, 0.0, 1.0, 0.0, 0.0),
    "guided": (0.0, 1.0, 0.0, 0.0, 0.0),
    "modulated": (0.0, 0.0, 0.0, 1.0, 0.0),
}
"""Weights of each part in layer 0's four gates and its skip connection. The outputs of cells 1 and
3 both contain l."""


class _Attention(NamedTuple):
    """The attention of one layer's cross-modal cell.

    Attributes:
        weights: ``[B, Y, X * P, K]``.
        gate: ``[B, Y, X]``, the widest open of the gates behind the cell.
    """

    weights: Tensor
    gate: Tensor


class Matched(NamedTuple):
    """All pairs.

    Attributes:
        outputs: Scores ``[B, Y, X]``, then any gates ``[B, Y, X, paths, cells]``.
        attention: By layer, of the layers whose cross-modal cell may be used.
    """

    outputs: list[Tensor]
    attention: dict[int, _Attention]


class Matching:
    """The score of every pair of refined and guiding items.

    Args:
        model: The model with the layers. The caller registers their parameters and the pooling's.
        pooling: Turns refined features into a vector.
        routes: The gates that may open.
    """

    def __init__(self, model: Dime, pooling: Pooling, routes: Routes) -> None:
        self.config, self.pooling, self.routes = model.config, pooling, routes
        self._layers: list[DynamicLayer] = model.interaction.layers

    def __call__(
        self,
        refined: Mapping[str, Tensor],
        guiding: Mapping[str, Tensor],
        mask: Tensor | None,
        gates: bool = False,
    ) -> Matched:
        """Score X refined items with Y guiding ones.

        Args:
            refined: `refined_tensors`, each ``[B, X, ...]``.
            guiding: `guiding_tensors`, each ``[B, Y, ...]``.
            mask: ``bool [B, Y, K]``, the real positions of the guiding items; None for all.
            gates: Whether to return the gates too.

        Returns:
            With ``gates``, also the gates of the three layers, divided, then those of the first
            two, not divided.
        """
        groups, items, _, width = refined["local"].shape
        shape = (groups, guiding["local"].shape[1], items)
        sign = guiding["sign"][:, :, None, None, :]
        contexts = [
            Context(
                guiding["local"], mask, sign, guiding.get(f"scale_{k}"), guiding.get(f"shift_{k}")
            )
            for k in range(len(self._layers))
        ]
        weights: dict[int, Tensor] = {}
        inputs = self._first_layer(refined, contexts[0], shape, weights)
        inputs, raw1, gates1 = self._middle_layer(inputs, contexts[1], shape, weights)
        out, gates2 = self._last_layer(inputs, contexts[2], shape, weights)
        pooled = self.pooling(out).reshape(*shape, width)
        length = torch.linalg.vector_norm(pooled, dim=-1).clamp(min=pairs.NORMALIZE_EPS)
        scores = (pooled @ guiding["vector"].unsqueeze(-1)).squeeze(-1) / length
        gates0 = _routing(refined)[..., : len(CELLS)].unsqueeze(1).expand(*shape, -1, -1)
        divided = [gates0, *(x.reshape(*shape, *x.shape[1:]) for x in (gates1, gates2))]
        attention = {
            number: _Attention(own, divided[number][..., CMRC].amax(dim=-1))
            for number, own in weights.items()
        }
        if not gates:
            return Matched([scores], attention)
        raw0 = refined["gates"].unflatten(-1, (len(CELLS), len(CELLS)))
        raw0 = raw0.unsqueeze(1).expand(*shape, -1, -1)
        raw1 = raw1.reshape(*shape, *raw1.shape[1:])
        return Matched([scores, *divided, raw0, raw1], attention)

    def _first_layer(
        self,
        refined: Mapping[str, Tensor],
        context: Context,
        shape: tuple[int, int, int],
        attention: dict[int, Tensor],
    ) -> dict[int, Tensor]:
        """Inputs ``[n, P, D]`` of layer 1's cells; parts without a guide come from the encoder."""
        local = refined["local"]
        groups, items, positions, width = local.shape
        # What the gates weight; the refined cells contain l.
        constant = {"relu": torch.relu(local), "local": local, "reasoned": refined.get("reasoned")}
        varying: dict[str, Tensor | None] = {"guided": None, "modulated": None}
        if self.routes.uses(0, GLGC):
            varying["guided"] = context.sign * refined["guided"].unsqueeze(1)
        if self.routes.uses(0, CMRC):
            queries = local.reshape(groups, 1, items * positions, width)
            modulated, attention[0] = self._modulated(0, queries, positions, context)
            varying["modulated"] = modulated.reshape(*shape, positions, width)
        routing, paths = _routing(refined), self.routes.computed(1)
        sums = _weighted(constant, routing, paths)
        if any(part is not None for part in varying.values()):
            changing = _weighted(varying, routing.unsqueeze(1), paths)
            sums = [c.unsqueeze(1) + v for c, v in zip(sums, changing, strict=True)]
        else:
            sums = [c.unsqueeze(1).expand(*shape, -1, -1) for c in sums]
        flat = [x.reshape(-1, positions, width) for x in sums]
        return dict(zip(paths, flat, strict=True))

    def _modulated(
        self, number: int, queries: Tensor, positions: int, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Cross-modal refinement without its residual: ``[B, Y or 1, X * P, D] -> [n * P, D]``.

        And the attention that it is made of, ``[B, Y, X * P, K]``.
        """
        weights = pairs.attention_weights(
            self.config.attention_norm, self.config.temperature, queries, positions, context
        )
        refine = self._layers[number].cmrc.refine
        return pairs.modulated(refine, queries, weights, context), weights

    def _cells(
        self,
        number: int,
        inputs: Mapping[int, Tensor],
        context: Context,
        shape: tuple[int, int, int],
        attention: dict[int, Tensor],
        factor: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """The cells 1 to 3 of a layer that are used: guidance, reasoned, modulation."""
        layer = self._layers[number]
        groups, guides, items = shape
        _, positions, width = inputs[RIC].shape
        found = {}
        if self.routes.uses(number, GLGC):
            sign = context.sign.expand(groups, guides, items, 1, width).reshape(-1, 1, width)
            sign = sign if factor is None else sign * factor
            found[GLGC] = pairs.guidance(layer.glgc, inputs[GLGC], sign)
        if self.routes.uses(number, IMRC):
            found[IMRC] = pairs.reasoned(layer.imrc.sa, inputs[IMRC])
        if self.routes.uses(number, CMRC):
            queries = inputs[CMRC].reshape(groups, guides, items * positions, width)
            modulation, attention[number] = self._modulated(number, queries, positions, context)
            found[CMRC] = modulation.reshape(inputs[CMRC].shape)
        return found

    def _middle_layer(
        self,
        inputs: Mapping[int, Tensor],
        context: Context,
        shape: tuple[int, int, int],
        attention: dict[int, Tensor],
    ) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """Inputs ``[n, P, D]`` of layer 2's cells, the raw gates and the gates ``[n, 4, 4]``."""
        raw = pairs.raw_gates(self._layers[1], inputs, self.routes.open[1])
        gates, skip = pairs.routed(raw)
        outputs = {RIC: torch.relu(inputs[RIC])}
        for cell, found in self._cells(1, inputs, context, shape, attention).items():
            if cell == GLGC:
                outputs[cell] = inputs[cell] * (found + 1)
            else:
                outputs[cell] = found + inputs[cell] if cell == CMRC else found
        # The skip connection of an out-path leads to cell 0.
        to_first = gates.new_tensor([1.0, 0.0, 0.0, 0.0])
        weights = pairs.chosen(gates + skip.unsqueeze(-1) * to_first, list(outputs))
        sums = pairs.combined(weights, list(outputs.values()))
        shaped = [x.reshape(inputs[RIC].shape) for x in sums]
        return dict(enumerate(shaped)), raw, gates

    def _last_layer(
        self,
        inputs: Mapping[int, Tensor],
        context: Context,
        shape: tuple[int, int, int],
        attention: dict[int, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The refined features ``[n, P, D]`` and the gates ``[n, 1, 4]``."""
        gates = pairs.raw_gates(self._layers[2], inputs, self.routes.open[2])
        closed = (gates < OFF_THRESHOLD / len(CELLS)).to(gates.dtype)
        total = (gates + closed).sum(dim=-1, keepdim=True)
        p = (gates / total).split(1, dim=-1)
        skip = (closed / total).split(1, dim=-1)
        found = self._cells(2, inputs, context, shape, attention, p[GLGC])
        # p relu(x) + skip x, since p is not negative
        out = torch.maximum(inputs[RIC] * (p[RIC] + skip[RIC]), inputs[RIC] * skip[RIC])
        guided = p[GLGC] + skip[GLGC]
        out = out + inputs[GLGC] * (found[GLGC] + guided if GLGC in found else guided)
        if IMRC in found:
            out = out + found[IMRC] * p[IMRC]
        out = out + inputs[IMRC] * skip[IMRC]
        if CMRC in found:
            out = out + found[CMRC] * p[CMRC]
        return out + inputs[CMRC] * (p[CMRC] + skip[CMRC]), gates


def _routing(refined: Mapping[str, Tensor]) -> Tensor:
    """Layer 0's gates and skip connections of the refined items: ``[B, X, paths, cells + 1]``."""
    return refined["routing"].unflatten(-1, (len(CELLS), len(CELLS) + 1))


def _weighted(
    parts: Mapping[str, Tensor | None], routing: Tensor, paths: Sequence[int]
) -> list[Tensor]:
    """Sums ``[..., P, D]`` of the given parts by layer 0's routing, one per path."""
    there = {name: part for name, part in parts.items() if part is not None}
    weights = routing @ routing.new_tensor([_PARTS_OF_LAYER0[name] for name in there]).T
    weights = pairs.chosen(weights, paths, axis=-2)
    shape = next(iter(there.values())).shape
    return [
        x.reshape(*x.shape[:-2], *shape[-2:]) for x in pairs.combined(weights, list(there.values()))
    ]
