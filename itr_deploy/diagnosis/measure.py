"""One backend of the self-test, in a process of its own: its scores and its speed."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.store import read_bundle
from itr_deploy.diagnosis.candidates import CANDIDATES

REPEATS = 20
STORAGES: tuple[StorageType, ...] = ("float32", "float16")


def measure(number: int, bundle: str, items: str, scores: str) -> dict[str, Any]:
    """Encode and score on one of `CANDIDATES`.

    Args:
        number: Its place.
        bundle: The bundle's directory.
        items: A file with the arrays of a `itr_deploy.parity.samples.Sample` by their names.
        scores: The file to write the scores to, every direction and storage by `key`.

    Returns:
        What it ran on, and the median milliseconds of scoring all pairs over a float16 gallery.
    """
    matcher = CANDIDATES[number].open(read_bundle(bundle))
    with np.load(items) as given:
        images = matcher.encode_images(given["regions"])
        texts = matcher.encode_token_ids(given["token_ids"], given["lengths"])
    found: dict[str, NDArray[np.float32]] = {}
    for storage in STORAGES:
        stored = images.stored_as(storage), texts.stored_as(storage)
        found[key("text", storage)] = matcher.scorer.score_all(texts, stored[0])
        found[key("image", storage)] = matcher.scorer.score_all(images, stored[1])
    np.savez(Path(scores), **found)  # type: ignore[arg-type]  # its stubs mistake the arrays
    gallery, seconds = images.stored_as("float16"), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        matcher.scorer.score_all(texts, gallery)
        seconds.append(time.perf_counter() - begun)
    return {"ran_on": matcher.backend.description, "milliseconds": 1000 * median(seconds)}


def key(query: Modality, storage: StorageType) -> str:
    """Name of the scores ``[queries, items]`` of a direction and a storage."""
    return f"{query}_{storage}"
