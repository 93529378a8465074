"""How far a bundle may be from PyTorch, by its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from itr_deploy.bundle.manifest import HeldType, Precision, Quantization, StorageType

DEFAULTS: dict[Precision | Quantization, float] = {
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 5e-2,
    "int8": 1e-2,
}
"""Largest error of a score or a coarse embedding, on ``|a - b| / (1 + |b|)``."""

STORAGE = 1e-2
"""Largest error of a score over a float16 gallery, to allow for the rounding of its tensors."""

INT8_STORAGE = 1e-1
"""The same over an int8 gallery, and over one in bytes.

Random models with 24 numbers per vector need it for some pairs, trained ones a tenth of it. Ranks
show how good an int8 gallery is.
"""

INVARIANCE_SHARE = 0.1
"""Share of the tolerance allowed for batch and padding: only the order of additions differs."""


@dataclass(frozen=True)
class Tolerances:
    """The errors that the gate allows.

    Half precision is judged by its scores, ranks and coarse embeddings. An encoder's other outputs
    may jump where the model is discontinuous (the sign of a number near 0), so they only have to be
    finite; so do a matcher's other outputs per pair. The encoders of an int8 bundle are float32.

    Attributes:
        encoders: For an encoder's outputs; None if its stored tensors are judged by the scores.
        pairs: For a matcher's outputs per pair besides the score; None likewise.
        scores: For scores, by the type of the gallery's tensors.
        invariance: For scores in other batches and with other padding.
        best_kept: Rank within which PyTorch's best item must stay, by the type of the gallery's
            tensors; for types without an entry it is enough that only items within the tolerance
            change places.
    """

    encoders: float | None
    pairs: float | None
    scores: dict[HeldType, float]
    invariance: float
    best_kept: dict[StorageType, Literal[5]]

    @classmethod
    def of(
        cls,
        matching: Precision | Quantization,
        tolerance: float | None = None,
        storage: float | None = None,
    ) -> Tolerances:
        """The tolerances for the type that matchers compute in; the user's take precedence."""
        own = DEFAULTS[matching] if tolerance is None else tolerance
        stored = max(own, STORAGE) if storage is None else storage
        full = matching == "float32"
        encoders = own if full else None
        if matching == "int8":
            encoders = DEFAULTS["float32"]
        return cls(
            encoders=encoders,
            pairs=own if full else None,
            scores={
                "float32": own,
                "float16": stored,
                "int8": max(own, INT8_STORAGE),
                "uint8": max(own, INT8_STORAGE),
            },
            invariance=own * INVARIANCE_SHARE,
            best_kept={"int8": 5} if full else {"float32": 5, "float16": 5, "int8": 5},
        )
