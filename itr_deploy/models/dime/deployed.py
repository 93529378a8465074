"""The exported form of DIME: equal scores with the least arithmetic a pair.

The routing graph is static: all cells are computed for every pair, the gates are weights. Cells
whose gates are all held at 0 (`Routes`) are left out, and what only they read is not stored. What
is constant for an item is computed in the encoders: of the refined side layer 0's cells without a
guide and all its gates, of the guiding side everything that the attention sums up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from itr_deploy.models.contract import DeployedMatcher, PairOutput, Workspace
from itr_deploy.models.dime import pairs
from itr_deploy.models.dime.cells import DynamicLayer, Refinement
from itr_deploy.models.dime.pairs import Context
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.pooling import Pooling
from itr_deploy.models.dime.routes import CELLS, CMRC, GLGC, IMRC, OFF_THRESHOLD, RIC
from itr_deploy.models.dime.stored import guiding_tensors, refined_tensors
from itr_deploy.models.layers import position_mask
from itr_deploy.models.precision import full_precision

CPU_PAIRS = 24
"""Measured at published sizes, see docs/performance.md."""

_PARTS_OF_LAYER0 = {
    "relu": (1.0, 0.0, 0.0, 0.0, 1.0),
    "local": (0.0, 1.0, 0.0, 1.0, 0.0),
    "reasoned": (0.0, 0.0, 1.0, 0.0, 0.0),
    "guided": (0.0, 1.0, 0.0, 0.0, 0.0),
    "modulated": (0.0, 0.0, 0.0, 1.0, 0.0),
}
"""By how much layer 0's four gates and its skip connection weigh a part. The outputs of cells 1 and
3 both have l in them."""

_PAIR_OUTPUTS = (
    PairOutput("paths_layer0", (4, 4)),
    PairOutput("paths_layer1", (4, 4)),
    PairOutput("paths_layer2", (1, 4)),
    PairOutput("gates_layer0", (4, 4)),
    PairOutput("gates_layer1", (4, 4)),
)
"""As the published program returns them, and undivided where those are divided by their sum."""


class DimeDeployment(DeployedMatcher):
    """The exported form of a `Dime`: equal scores, the least arithmetic a pair.

    Attributes:
        pair_outputs: With ``gates=True`` the gates of the three layers, path before cell.
        routes: The gates that may open.
    """

    def __init__(self, model: Dime, gates: bool = False) -> None:
        super().__init__()
        self.model = model
        self.routes = model.routes
        self.pooling = Pooling(model.interaction.bn)
        config = model.config
        width = config.embed_dim
        self.embedding_dim = width
        self.text_length = config.max_words
        refined = refined_tensors(width, self.routes, gates)
        guiding = guiding_tensors(width, self.routes)
        self.text_tensors = refined if config.refines_words else guiding
        self.image_tensors = guiding if config.refines_words else refined
        self.pair_outputs = _PAIR_OUTPUTS if gates else ()
        live = 36 * width
        self.workspace = Workspace(
            per_word=live * config.refines_words,
            per_region=live * (not config.refines_words),
            cpu_pairs=CPU_PAIRS,
        )

    @property
    def _layers(self) -> list[DynamicLayer]:
        interaction = self.model.interaction
        return [
            interaction.dynamic_itr_l0,
            interaction.dynamic_itr_l1,
            interaction.dynamic_itr_l2,
        ]

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the image vector."""
        with self._precision(guides=self.model.config.refines_words):
            embedded, vector = self.model.image(regions)
        side = self._guiding if self.model.config.refines_words else self._refined
        return (*side(embedded, vector), vector)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, W], int64 [B]`` -> the `text_tensors`, then the sentence vector."""
        with self._precision(guides=not self.model.config.refines_words):
            words, vector = self.model.text(token_ids, lengths)
        side = self._refined if self.model.config.refines_words else self._guiding
        return (*side(words, vector), vector)

    @staticmethod
    def _precision(*, guides: bool) -> AbstractContextManager[None]:
        """Of the guiding side's vector the signs are read: half precision would flip some."""
        return full_precision() if guides else nullcontext()

    def _refined(self, local: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """`refined_tensors` of the embeddings ``[B, P, D]``."""
        layer = self._layers[0]
        raw = pairs.raw_gates(layer, dict.fromkeys(range(len(CELLS)), local), self.routes.open[0])
        gates, skip = pairs.routed(raw)
        stored = [local]
        if self.routes.uses(0, GLGC):
            one = torch.ones_like(local[:1, :1])
            stored.append(local * pairs.guidance(layer.glgc, local, one))
        if self.routes.uses(0, IMRC):
            stored.append(pairs.reasoned(layer.imrc.sa, local))
        stored.append(torch.cat([gates, skip.unsqueeze(-1)], dim=-1).flatten(1))
        return (*stored, raw.flatten(1)) if self.pair_outputs else tuple(stored)

    def _guiding(self, local: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """`guiding_tensors` of the embeddings ``[B, K, D]`` and the vector ``[B, D]``."""
        layers = enumerate(self._layers)
        used = [layer for number, layer in layers if self.routes.uses(number, CMRC)]
        maps = [_context_maps(layer.cmrc.refine, local) for layer in used]
        return (local, *(tensor for pair in maps for tensor in pair), vector, torch.sign(vector))

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group, see `DeployedMatcher.match`."""
        return self.match_outputs(texts, lengths, images)[0]

    def match_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Scores and gates, see `DeployedMatcher.match_outputs`."""
        words = self.model.config.refines_words
        named_texts = {s.name: t for s, t in zip(self.text_tensors, texts, strict=True)}
        named_images = {s.name: t for s, t in zip(self.image_tensors, images, strict=True)}
        if words:
            outputs = self._match(named_texts, named_images, None)
            outputs = [output.transpose(1, 2) for output in outputs]
        else:
            mask = position_mask(lengths, named_texts["local"].shape[2])
            outputs = self._match(named_images, named_texts, mask)
        return tuple(outputs) if self.pair_outputs else (outputs[0],)

    def _match(
        self, refined: Mapping[str, Tensor], guiding: Mapping[str, Tensor], mask: Tensor | None
    ) -> list[Tensor]:
        """Scores ``[B, Y, X]`` and the `pair_outputs` ``[B, Y, X, paths, cells]``."""
        groups, items, _, width = refined["local"].shape
        shape = (groups, guiding["local"].shape[1], items)
        sign = guiding["sign"][:, :, None, None, :]
        contexts = [
            Context(
                guiding["local"], mask, sign, guiding.get(f"scale_{k}"), guiding.get(f"shift_{k}")
            )
            for k in range(len(self._layers))
        ]
        inputs = self._first_layer(refined, contexts[0], shape)
        inputs, raw1, gates1 = self._middle_layer(inputs, contexts[1], shape)
        out, gates2 = self._last_layer(inputs, contexts[2], shape)
        pooled = self.pooling(out).reshape(*shape, width)
        length = torch.linalg.vector_norm(pooled, dim=-1).clamp(min=pairs.NORMALIZE_EPS)
        scores = (pooled @ guiding["vector"].unsqueeze(-1)).squeeze(-1) / length
        if not self.pair_outputs:
            return [scores]
        raw0 = refined["gates"].unflatten(-1, (len(CELLS), len(CELLS)))
        own = [_routing(refined)[..., : len(CELLS)], raw0]
        gates0, raw0 = (x.unsqueeze(1).expand(*shape, -1, -1) for x in own)
        gates1, gates2, raw1 = (x.reshape(*shape, *x.shape[1:]) for x in (gates1, gates2, raw1))
        return [scores, gates0, gates1, gates2, raw0, raw1]

    def _first_layer(
        self, refined: Mapping[str, Tensor], context: Context, shape: tuple[int, int, int]
    ) -> dict[int, Tensor]:
        """Inputs ``[n, P, D]`` of layer 1's cells; what has no guide comes from the encoder."""
        local = refined["local"]
        groups, items, positions, width = local.shape
        # What the gates weigh: the refined cells have l in them.
        constant = {"relu": torch.relu(local), "local": local, "reasoned": refined.get("reasoned")}
        varying: dict[str, Tensor | None] = {"guided": None, "modulated": None}
        if self.routes.uses(0, GLGC):
            varying["guided"] = context.sign * refined["guided"].unsqueeze(1)
        if self.routes.uses(0, CMRC):
            queries = local.reshape(groups, 1, items * positions, width)
            modulated = self._modulated(0, queries, positions, context)
            varying["modulated"] = modulated.reshape(*shape, positions, width)
        elif not self.routes.uses(0, GLGC):
            constant["local"] = None
        routing, paths = _routing(refined), self.routes.computed(1)
        sums = _weighted(constant, routing, paths)
        if any(part is not None for part in varying.values()):
            changing = _weighted(varying, routing.unsqueeze(1), paths)
            sums = [c.unsqueeze(1) + v for c, v in zip(sums, changing, strict=True)]
        else:
            sums = [c.unsqueeze(1).expand(*shape, -1, -1) for c in sums]
        flat = [x.reshape(-1, positions, width) for x in sums]
        return dict(zip(paths, flat, strict=True))

    def _modulated(self, number: int, queries: Tensor, positions: int, context: Context) -> Tensor:
        """Cross-modal refinement less its residual: ``[B, Y or 1, X * P, D] -> [n * P, D]``."""
        config = self.model.config
        weights = pairs.attention_weights(
            config.attention_norm, config.temperature, queries, positions, context
        )
        return pairs.modulated(self._layers[number].cmrc.refine, queries, weights, context)

    def _cells(
        self,
        number: int,
        inputs: Mapping[int, Tensor],
        context: Context,
        shape: tuple[int, int, int],
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
            modulation = self._modulated(number, queries, positions, context)
            found[CMRC] = modulation.reshape(inputs[CMRC].shape)
        return found

    def _middle_layer(
        self, inputs: Mapping[int, Tensor], context: Context, shape: tuple[int, int, int]
    ) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """Inputs ``[n, P, D]`` of layer 2's cells, the raw gates and the gates ``[n, 4, 4]``."""
        raw = pairs.raw_gates(self._layers[1], inputs, self.routes.open[1])
        gates, skip = pairs.routed(raw)
        outputs = {RIC: torch.relu(inputs[RIC])}
        for cell, found in self._cells(1, inputs, context, shape).items():
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
        self, inputs: Mapping[int, Tensor], context: Context, shape: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """The refined features ``[n, P, D]`` and the gates ``[n, 1, 4]``."""
        gates = pairs.raw_gates(self._layers[2], inputs, self.routes.open[2])
        closed = (gates < OFF_THRESHOLD / len(CELLS)).to(gates.dtype)
        total = (gates + closed).sum(dim=-1, keepdim=True)
        p = (gates / total).split(1, dim=-1)
        skip = (closed / total).split(1, dim=-1)
        found = self._cells(2, inputs, context, shape, p[GLGC])
        # p relu(x) + skip x, as p is not negative
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
    """Layer 0's gates and skips of the refined items: ``[B, X, paths, cells + 1]``."""
    return refined["routing"].unflatten(-1, (len(CELLS), len(CELLS) + 1))


def _weighted(
    parts: Mapping[str, Tensor | None], routing: Tensor, paths: Sequence[int]
) -> list[Tensor]:
    """Sums ``[..., P, D]`` of the parts that there are, by layer 0's routing, one a path."""
    there = {name: part for name, part in parts.items() if part is not None}
    weights = routing @ routing.new_tensor([_PARTS_OF_LAYER0[name] for name in there]).T
    weights = pairs.chosen(weights, paths, axis=-2)
    shape = next(iter(there.values())).shape
    return [
        x.reshape(*x.shape[:-2], *shape[-2:]) for x in pairs.combined(weights, list(there.values()))
    ]


def _context_maps(refine: Refinement, local: Tensor) -> tuple[Tensor, Tensor]:
    """``fc_scale`` and ``fc_1`` of ``fc_shift`` of the context ``[B, K, D]``, biases in them."""
    return refine.fc_scale(local), refine.fc_1(refine.fc_shift(local))
