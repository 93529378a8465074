"""The exported form of DIME: equal scores with the least arithmetic a pair.

The routing graph is static: all cells are computed for every pair, the gates are weights. What is
constant for an item is computed in the encoders: of the refined side layer 0's cells without a
guide and all its gates, of the guiding side everything that the attention sums up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from itr_deploy.models.contract import DeployedMatcher, PairOutput, StoredTensor, Workspace
from itr_deploy.models.dime import pairs
from itr_deploy.models.dime.cells import CELLS, OFF_THRESHOLD, DynamicLayer, Refinement
from itr_deploy.models.dime.pairs import Context
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.layers import position_mask

GATES = len(CELLS) * (len(CELLS) + 1)
"""Values a refined item stores of layer 0's routing: for every out-path the cells' gates, and the
skip connection's."""

# What layer 0's gates and skip connection weigh: relu(l), l, cell 2, the guidance, the modulation.
# Cells 1 and 3 both have l in them.
_PARTS_OF_LAYER0 = (
    (1.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0, 1.0),
    (1.0, 0.0, 0.0, 0.0, 0.0),
)

_PAIR_OUTPUTS = (
    PairOutput("paths_layer0", (4, 4)),
    PairOutput("paths_layer1", (4, 4)),
    PairOutput("paths_layer2", (1, 4)),
)


class DimeDeployment(DeployedMatcher):
    """The exported form of a `Dime`: equal scores, the least arithmetic a pair.

    Attributes:
        pair_outputs: With ``gates=True`` the gates of the three layers, path before cell.
    """

    def __init__(self, model: Dime, gates: bool = False) -> None:
        super().__init__()
        self.model = model
        self.pooling = _Pooling(model.interaction.bn)
        config = model.config
        width = config.embed_dim
        self.embedding_dim = width
        self.text_length = config.max_words
        refined, guiding = _refined_tensors(width), _guiding_tensors(width)
        self.text_tensors = refined if config.refines_words else guiding
        self.image_tensors = guiding if config.refines_words else refined
        self.pair_outputs = _PAIR_OUTPUTS if gates else ()
        live = 36 * width
        self.workspace = Workspace(
            per_word=live * config.refines_words, per_region=live * (not config.refines_words)
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
        embedded, vector = self.model.image(regions)
        side = self._guiding if self.model.config.refines_words else self._refined
        return (*side(embedded, vector), vector)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, W], int64 [B]`` -> the `text_tensors`, then the sentence vector."""
        words, vector = self.model.text(token_ids, lengths)
        side = self._refined if self.model.config.refines_words else self._guiding
        return (*side(words, vector), vector)

    def _refined(self, local: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """`_refined_tensors` of the embeddings ``[B, P, D]``."""
        layer = self._layers[0]
        gates, skip = pairs.routed(pairs.raw_gates(layer, [local] * len(CELLS)))
        guided = local * pairs.guidance(layer.glgc, local, torch.ones_like(local[:1, :1]))
        routing = torch.cat([gates, skip.unsqueeze(-1)], dim=-1).flatten(1)
        return local, guided, pairs.reasoned(layer.imrc.sa, local), routing

    def _guiding(self, local: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """`_guiding_tensors` of the embeddings ``[B, K, D]`` and the vector ``[B, D]``."""
        maps = [_context_maps(layer.cmrc.refine, local) for layer in self._layers]
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
        """Scores ``[B, Y, X]`` and gates ``[B, Y, X, paths, cells]`` of the layers."""
        groups, items, _, width = refined["local"].shape
        shape = (groups, guiding["local"].shape[1], items)
        sign = guiding["sign"][:, :, None, None, :]
        contexts = [
            Context(guiding["local"], mask, sign, guiding[f"scale_{k}"], guiding[f"shift_{k}"])
            for k in range(len(self._layers))
        ]
        routing = refined["routing"].unflatten(-1, (len(CELLS), len(CELLS) + 1))
        inputs = self._first_layer(refined, routing, contexts[0])
        inputs, gates1 = self._middle_layer(inputs, contexts[1], shape)
        out, gates2 = self._last_layer(inputs, contexts[2], shape)
        pooled = self.pooling(out).reshape(*shape, width)
        length = torch.linalg.vector_norm(pooled, dim=-1).clamp(min=pairs.NORMALIZE_EPS)
        scores = (pooled @ guiding["vector"].unsqueeze(-1)).squeeze(-1) / length
        gates0 = routing[..., : len(CELLS)].unsqueeze(1).expand(*shape, -1, -1)
        return [
            scores,
            gates0,
            gates1.reshape(*shape, *gates1.shape[1:]),
            gates2.reshape(*shape, *gates2.shape[1:]),
        ]

    def _first_layer(
        self, refined: Mapping[str, Tensor], routing: Tensor, context: Context
    ) -> list[Tensor]:
        """Inputs of layer 1's cells, each ``[n, P, D]``; cells 0 and 2 come from the encoder."""
        local = refined["local"]
        groups, items, positions, width = local.shape
        queries = local.reshape(groups, 1, items * positions, width)
        guided = context.sign * refined["guided"].unsqueeze(1)
        modulated = self._modulated(0, queries, positions, context).reshape(guided.shape)
        weights = routing @ local.new_tensor(_PARTS_OF_LAYER0)
        own = [torch.relu(local), local, refined["reasoned"]]
        constant = pairs.combined(weights[..., : len(own)], own)
        varying = pairs.combined(weights[..., len(own) :].unsqueeze(1), [guided, modulated])
        return [
            (c.unsqueeze(1) + v).reshape(-1, positions, width)
            for c, v in zip(constant, varying, strict=True)
        ]

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
        inputs: Sequence[Tensor],
        context: Context,
        shape: tuple[int, int, int],
        factor: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The cells 1 to 3 of a layer, each ``[n, P, D]``: guidance, reasoned, modulation."""
        layer = self._layers[number]
        groups, guides, items = shape
        _, positions, width = inputs[0].shape
        sign = context.sign.expand(groups, guides, items, 1, width).reshape(-1, 1, width)
        if factor is not None:
            sign = sign * factor
        queries = inputs[3].reshape(groups, guides, items * positions, width)
        return (
            pairs.guidance(layer.glgc, inputs[1], sign),
            pairs.reasoned(layer.imrc.sa, inputs[2]),
            self._modulated(number, queries, positions, context).reshape(inputs[3].shape),
        )

    def _middle_layer(
        self, inputs: Sequence[Tensor], context: Context, shape: tuple[int, int, int]
    ) -> tuple[list[Tensor], Tensor]:
        """Inputs of layer 2's cells, each ``[n, P, D]``, and the gates ``[n, 4, 4]``."""
        gates, skip = pairs.routed(pairs.raw_gates(self._layers[1], inputs))
        guidance, reasoned, modulation = self._cells(1, inputs, context, shape)
        outputs = [
            torch.relu(inputs[0]),
            inputs[1] * (guidance + 1),
            reasoned,
            modulation + inputs[3],
        ]
        # The skip connection of an out-path leads to cell 0.
        to_first = gates.new_tensor([1.0, 0.0, 0.0, 0.0])
        sums = pairs.combined(gates + skip.unsqueeze(-1) * to_first, outputs)
        return [x.reshape(inputs[0].shape) for x in sums], gates

    def _last_layer(
        self, inputs: Sequence[Tensor], context: Context, shape: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """The refined features ``[n, P, D]`` and the gates ``[n, 1, 4]``."""
        gates = pairs.raw_gates(self._layers[2], inputs)
        closed = (gates < OFF_THRESHOLD / len(CELLS)).to(gates.dtype)
        total = (gates + closed).sum(dim=-1, keepdim=True)
        p = (gates / total).split(1, dim=-1)
        skip = (closed / total).split(1, dim=-1)
        guidance, reasoned, modulation = self._cells(2, inputs, context, shape, p[1])
        # p relu(x) + skip x, as p is not negative
        out = torch.maximum(inputs[0] * (p[0] + skip[0]), inputs[0] * skip[0])
        out = out + inputs[1] * (guidance + (p[1] + skip[1]))
        out = out + reasoned * p[2] + inputs[2] * skip[2]
        return out + modulation * p[3] + inputs[3] * (p[3] + skip[3]), gates


class _Pooling(nn.Module):
    """A batch norm at every position, then mean plus maximum over the positions.

    The norm is affine a channel, so that it is applied after pooling; where its factor is negative,
    the maximum is that of the least value.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        scale, shift = folded(norm)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", 2 * shift)
        self.rising = bool((scale >= 0).all())

    def forward(self, x: Tensor) -> Tensor:
        """``[n, P, D] -> [n, D]``."""
        extreme = x.amax(dim=1)
        if not self.rising:
            extreme = torch.where(self.scale < 0, x.amin(dim=1), extreme)
        return (x.mean(dim=1) + extreme) * self.scale + self.shift


def folded(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Factor and summand ``[D]`` of a batch norm that is not training."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
    return scale, (norm.bias - norm.running_mean * scale).detach()


def _context_maps(refine: Refinement, local: Tensor) -> tuple[Tensor, Tensor]:
    """``fc_scale`` and ``fc_1`` of ``fc_shift`` of the context ``[B, K, D]``, biases in them."""
    return refine.fc_scale(local), refine.fc_1(refine.fc_shift(local))


def _refined_tensors(width: int) -> tuple[StoredTensor, ...]:
    return (
        StoredTensor(name="local", width=width),
        StoredTensor(name="guided", width=width),
        StoredTensor(name="reasoned", width=width),
        StoredTensor(name="routing", width=GATES, per_position=False),
    )


def _guiding_tensors(width: int) -> tuple[StoredTensor, ...]:
    maps = [f"{name}_{layer}" for layer in range(3) for name in ("scale", "shift")]
    return (
        StoredTensor(name="local", width=width),
        *(StoredTensor(name=name, width=width) for name in maps),
        StoredTensor(name="vector", width=width, per_position=False),
        StoredTensor(name="sign", width=width, per_position=False),
    )
