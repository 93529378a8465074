"""The exported form of DIME: equal scores with the least arithmetic per pair.

What is constant for an item is computed in the encoders. For the refined side these are layer 0's
cells without a guide and all its gates; for the guiding side, everything that the attention sums
up. What only omitted cells read (`Routes`) is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from itr_deploy.bundle.modality import Modality
from itr_deploy.models.attending import Told, of_regions, of_words, stacked
from itr_deploy.models.contract import AttentionStep, DeployedMatcher, PairOutput, Workspace
from itr_deploy.models.dime import pairs
from itr_deploy.models.dime.cells import Refinement
from itr_deploy.models.dime.matching import Matched, Matching
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.pooling import Pooling
from itr_deploy.models.dime.prefilter import prefilter_routes
from itr_deploy.models.dime.routes import CELLS, CMRC, GLGC, IMRC, PATHS
from itr_deploy.models.dime.stored import guiding_tensors, refined_tensors
from itr_deploy.models.layers import l2_norm, position_mask
from itr_deploy.models.precision import full_precision

CPU_PAIRS = 24
"""Measured at published sizes; see docs/performance.md."""

_PAIR_OUTPUTS = (
    PairOutput("paths_layer0", (4, 4)),
    PairOutput("paths_layer1", (4, 4)),
    PairOutput("paths_layer2", (1, 4)),
    PairOutput("gates_layer0", (4, 4)),
    PairOutput("gates_layer1", (4, 4)),
)
"""The gates as the published program returns them, and undivided where it divides by their sum."""


class DimeDeployment(DeployedMatcher):
    """The exported form of a `Dime`: equal scores, the least arithmetic per pair.

    Attributes:
        pair_outputs: With ``gates=True``, the gates of the three layers, path before cell.
        routes: The gates that may open.
        attention_steps: The layers whose cross-modal cell may be used, from 1. What attends to what
            there is multiplied by the gate behind the cell: of a pair that closes it, all is 0.
    """

    def __init__(self, model: Dime, gates: bool = False) -> None:
        super().__init__()
        self.model = model
        self.routes = model.routes
        self.pooling = Pooling(model.interaction.bn)
        self._matching = Matching(model, self.pooling, self.routes)
        cheap = prefilter_routes(self.routes)
        self._cheap = Matching(model, self.pooling, cheap)
        config = model.config
        width = config.embed_dim
        self.embedding_dim = width
        self.text_length = config.max_words
        refined = refined_tensors(width, self.routes, gates)
        guiding = guiding_tensors(width, self.routes)
        self.text_tensors = refined if config.refines_words else guiding
        self.image_tensors = guiding if config.refines_words else refined
        refined_read = tuple(s.name for s in refined_tensors(width, cheap, gates=False))
        guiding_read = tuple(s.name for s in guiding_tensors(width, cheap))
        read = (
            (refined_read, guiding_read) if config.refines_words else (guiding_read, refined_read)
        )
        self.prefilter_text_tensors, self.prefilter_image_tensors = read
        self.pair_outputs = _PAIR_OUTPUTS if gates else ()
        attends: Modality = "text" if config.refines_words else "image"
        self.attention_steps = tuple(
            AttentionStep(step=1 + layer, attends=attends)
            for layer in range(len(PATHS))
            if self.routes.uses(layer, CMRC)
        )
        live = 36 * width
        self.workspace = Workspace(
            per_word=live * config.refines_words,
            per_region=live * (not config.refines_words),
            cpu_pairs=CPU_PAIRS,
        )

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
        """Full precision for the guiding side: half precision would flip signs of its vector."""
        return full_precision() if guides else nullcontext()

    def _refined(self, local: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """`refined_tensors` from the embeddings ``[B, P, D]``."""
        layer = self.model.interaction.dynamic_itr_l0
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
        """`guiding_tensors` from the embeddings ``[B, K, D]`` and the vector ``[B, D]``."""
        layers = enumerate(self.model.interaction.layers)
        used = [layer for number, layer in layers if self.routes.uses(number, CMRC)]
        maps = [_context_maps(layer.cmrc.refine, local) for layer in used]
        return (local, *(tensor for pair in maps for tensor in pair), vector, torch.sign(vector))

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`."""
        return self.match_outputs(texts, lengths, images)[0]

    def match_outputs(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The scores, and the gates if the graphs output them."""
        return self._of_pairs(self._whole(texts, lengths, images))

    def match_and_attend(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Told]:
        """What the refined side attends to in each layer, as far as the gates let it through."""
        found = self._whole(texts, lengths, images)
        return self._of_pairs(found), self._told(texts, images, found)

    def _whole(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Matched:
        named_texts = {s.name: t for s, t in zip(self.text_tensors, texts, strict=True)}
        named_images = {s.name: t for s, t in zip(self.image_tensors, images, strict=True)}
        gates = bool(self.pair_outputs)
        return self._matched(self._matching, named_texts, lengths, named_images, gates)

    def _of_pairs(self, found: Matched) -> tuple[Tensor, ...]:
        """Outputs of all pairs, ``[B, T, I, ...]``."""
        if self.model.config.refines_words:
            return tuple(output.transpose(1, 2) for output in found.outputs)
        return tuple(found.outputs)

    def _told(self, texts: Sequence[Tensor], images: Sequence[Tensor], found: Matched) -> Told:
        """What attends to what, as `DeployedMatcher.match_and_attend` says."""
        by_words = self.model.config.refines_words
        # The embeddings are the first of the tensors of either side.
        refined, guiding = (texts[0], images[0]) if by_words else (images[0], texts[0])
        groups, items, positions, width = refined.shape
        shape = (groups, guiding.shape[1], items, positions)
        unit = l2_norm(refined, -1).reshape(groups, 1, items * positions, width)
        steps = []
        for weights, gate in found.attention.values():
            cosines = (l2_norm(weights @ guiding, -1) * unit).sum(dim=-1).reshape(shape)
            told = (of_words if by_words else of_regions)(weights.reshape(*shape, -1), cosines)
            by_pair = gate.transpose(1, 2) if by_words else gate
            steps.append((told[0] * by_pair[..., None, None], told[1]))
        return stacked(steps)

    def prefilter(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> Tensor:
        """Scores ``[B, T, I]`` by the cheap cells only, those of `prefilter_routes`."""
        named_texts = dict(zip(self.prefilter_text_tensors, texts, strict=True))
        named_images = dict(zip(self.prefilter_image_tensors, images, strict=True))
        return self._of_pairs(self._matched(self._cheap, named_texts, lengths, named_images))[0]

    def _matched(
        self,
        matching: Matching,
        texts: Mapping[str, Tensor],
        lengths: Tensor,
        images: Mapping[str, Tensor],
        gates: bool = False,
    ) -> Matched:
        """What ``matching`` makes of all pairs, the refined side last."""
        if self.model.config.refines_words:
            return matching(texts, images, None, gates)
        mask = position_mask(lengths, texts["local"].shape[2])
        return matching(images, texts, mask, gates)


def _context_maps(refine: Refinement, local: Tensor) -> tuple[Tensor, Tensor]:
    """``fc_scale`` and ``fc_1`` of ``fc_shift`` of the context ``[B, K, D]``, biases included."""
    return refine.fc_scale(local), refine.fc_1(refine.fc_shift(local))
