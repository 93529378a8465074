"""A small query that a bundle's matcher takes, to load all that a real one will need."""

from __future__ import annotations

from typing import Any

import numpy as np

from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.encoding.pictures import random_pictures
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.matcher import Matcher

WORDS, REGIONS = 10, 36
"""As many as usual queries have, where the model does not say: what is allocated fits them."""
SCALE = 0.1
"""Of random features: models that multiply their inputs overflow by large ones."""


def warm_query(matcher: Matcher, modality: Modality, *, detecting: bool = True) -> dict[str, Any]:
    """The arguments of a search for one random text or image; none if no text can be made.

    Args:
        matcher: Encodes it.
        modality: Of the query.
        detecting: Whether an image is a picture where there is a detector, which takes long.
    """
    manifest = matcher.bundle.manifest
    if modality == "text":
        most = max(1, min(WORDS, manifest.texts.max_tokens - 2))
        words = matcher.text.words[-most:]
        return {"query": " ".join(words)} if words else {}
    rng, images = np.random.default_rng(0), manifest.images
    if images.pictures or (detecting and matcher.detector is not None):
        return {"image": random_pictures(rng, 1)[0]}
    shape = (1, images.regions or REGIONS, images.feature_dim)
    regions = np.float32(SCALE) * rng.standard_normal(shape, np.float32)
    places = random_places(rng, 1, shape[1]) if images.boxes else ()
    return {"image": Regions(regions, *places)}
