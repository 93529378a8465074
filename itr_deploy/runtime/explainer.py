"""Explaining pairs with a bundle's graph of what attends to what."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import GraphInfo
from itr_deploy.bundle.modality import EXPLAIN, Modality
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, EngineError
from itr_deploy.runtime.backends import Backend, open_backend
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.explanation import Attention, Explanation, chosen, of_steps
from itr_deploy.runtime.scorer import Scorer

log = logging.getLogger(__name__)


class Explainer:
    """Tells of a text and an image what attends to what. Safe to use from several threads."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Store the bundle and what runs its graphs."""
        self._bundle, self._backend = bundle, backend

    def graph(self) -> GraphInfo:
        """The graph that explains.

        Raises:
            BundleError: The bundle has none; the message says why.
        """
        manifest, path = self._bundle.manifest, self._bundle.path
        try:
            return manifest.graphs[manifest.graph(EXPLAIN)]
        except KeyError:
            pass
        if manifest.is_dual_encoder:
            raise BundleError(
                f"{path}: a dual encoder scores by a product of vectors, one a text and one or "
                "more an image, in which no word attends to a region; there is nothing to explain"
            )
        if manifest.members:
            raise BundleError(
                f"{path}: an ensemble's score is a mean, and its members attend each by itself; "
                "explain with the bundles that it was made from"
            )
        raise BundleError(
            f"{path}: has no graph that explains: its model does not attend from words to regions, "
            "or an older itr-deploy exported it; export it again"
        )

    def is_exact(self, image: Encoded) -> bool:
        """Whether what is told of an image is what the gate compared with PyTorch."""
        manifest = self._bundle.manifest
        return manifest.matching == "float32" and image.blocks[0].storage == "float32"

    def explanation(
        self,
        scorer: Scorer,
        words: Sequence[str],
        text: Encoded,
        image: Encoded,
        placed: Placed | None,
        step: int | None,
        attends: Modality | None,
    ) -> Explanation:
        """What matched between an encoded text and an encoded image.

        Args:
            scorer: Scores the pair.
            words: The text's, as `TextProcessor.tokens` gives them.
            text: One text.
            image: One image, in any storage type.
            placed: Where its regions are.
            step: A step's number, None for the last that enters the score.
            attends: Who attends, None for the words where both sides do.

        Raises:
            BundleError: The bundle cannot explain.
            InputError: There is no such step, or nothing of it enters the score.
        """
        shown, steps = self.explain(text, image, step, attends)
        return Explanation(
            words=tuple(words),
            regions=shown.weights.shape[1],
            shown=shown,
            steps=steps,
            score=float(scorer.score_all(text, image)[0, 0]),
            exact=self.is_exact(image),
            placed=placed,
        )

    def explain(
        self, text: Encoded, image: Encoded, step: int | None, attends: Modality | None
    ) -> tuple[Attention, tuple[Attention, ...]]:
        """The step that was asked for, and all steps.

        Args:
            text: One text.
            image: One image, in any storage type.
            step: A step's number, None for the last that enters the score.
            attends: Who attends, None for the words where both sides do.

        Raises:
            BundleError: The bundle cannot explain.
            InputError: There is no such step, or nothing of it enters the score.
        """
        graph = self.graph()
        inputs: dict[str, NDArray[Any]] = {}
        for side in (text, image):
            (block,) = side.stored_as("float32").blocks
            inputs |= {f"{side.modality}_{name}": array for name, array in block.tensors.items()}
            if block.lengths is not None:
                inputs["text_lengths"] = block.lengths
                words = int(block.lengths[0])
        outputs = self._run({given.name: inputs[given.name] for given in graph.inputs})
        weights, scores = (outputs[name][0] for name in ("attention", "word_scores"))
        assert graph.attention is not None
        steps = of_steps(graph.attention, weights[:, :words], scores[:, :words])
        return chosen(steps, step, attends, str(self._bundle.path)), steps

    def _run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        name = self._bundle.manifest.graph(EXPLAIN)
        try:
            return self._backend.run(name, inputs)
        except EngineError as error:
            # build-engine leaves it out: a pair at a time is nothing for a GPU.
            log.info("%s; explained on the CPU", error)
            self._backend = open_backend(self._bundle, "cpu", "onnxruntime")
            return self._backend.run(name, inputs)
