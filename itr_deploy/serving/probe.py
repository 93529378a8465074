"""A real search that shows whether a service can search."""

from __future__ import annotations

import numpy as np

from itr_deploy.runtime.retriever import Retriever

REGIONS = 4
"""Of an image that is only to be encoded, where the model fixes no number."""


def probe(retriever: Retriever) -> None:
    """Search for something, whatever is found.

    Raises:
        ItrDeployError: The search fails.
    """
    if retriever.gallery.modality == "image":
        retriever.search(next(iter(retriever.matcher.text.words), "a"), k=1)
        return
    about = retriever.matcher.bundle.manifest.images
    if about.pictures:
        retriever.search(image=np.full((64, 64, 3), 127, np.uint8), k=1)
    elif not about.boxes:
        regions = np.ones((about.regions or REGIONS, about.feature_dim), np.float32)
        retriever.search(image=regions, k=1)
