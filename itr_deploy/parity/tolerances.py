"""How far a bundle may be from PyTorch, by its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from itr_deploy.bundle.manifest import Precision, Quantization, StorageType

DEFAULTS: dict[Precision | Quantization, float] = {
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 5e-2,
    "int8": 1e-2,
}
"""Largest error of a score or a coarse embedding, on ``|a - b| / (1 + |b|)``."""

STORAGE = 1e-2
"""Largest error of a score where the gallery's tensors are float16: what rounding them costs."""

INT8_STORAGE = 1e-1
"""The same where they are int8: random models of 24 numbers a vector need it for single pairs.

Trained models need a tenth of it. What an int8 gallery is good for is said by its ranks.
"""

INVARIANCE_SHARE = 0.1
"""Part of the tolerance that batch and padding may use: only the order of additions differs."""


@dataclass(frozen=True)
class Tolerances:
    """What the gate allows.

    Half precision is judged by its scores, ranks and coarse embeddings: what else an encoder gives
    may jump where a model does (the sign of a number next to 0), so of that only finite values are
    asked. So is whatever else a matcher tells of a pair. The encoders of an int8 bundle
    are float32.

    Attributes:
        encoders: For an encoder's outputs; None where its stored tensors are judged by the scores.
        pairs: For what a matcher tells of a pair besides its score, None likewise.
        scores: For scores, by the type of the gallery's tensors.
        invariance: For scores in other batches and with other padding.
        best_kept: Rank that the best item by PyTorch must keep, by the type of the gallery's
            tensors; where there is none no more is asked than that only items within the tolerance
            change places.
    """

    encoders: float | None
    pairs: float | None
    scores: dict[StorageType, float]
    invariance: float
    best_kept: dict[StorageType, Literal[5]]

    @classmethod
    def of(
        cls,
        matching: Precision | Quantization,
        tolerance: float | None = None,
        storage: float | None = None,
    ) -> Tolerances:
        """The tolerances for what matchers compute in, or others that the user gave."""
        own = DEFAULTS[matching] if tolerance is None else tolerance
        stored = max(own, STORAGE) if storage is None else storage
        full = matching == "float32"
        encoders = own if full else None
        if matching == "int8":
            encoders = DEFAULTS["float32"]
        return cls(
            encoders=encoders,
            pairs=own if full else None,
            scores={"float32": own, "float16": stored, "int8": max(own, INT8_STORAGE)},
            invariance=own * INVARIANCE_SHARE,
            best_kept={"int8": 5} if full else {"float32": 5, "float16": 5, "int8": 5},
        )
