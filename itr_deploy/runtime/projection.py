"""A bundle's coarse projection: bilinear forms in place of the coarse embeddings' dot product.

The coarse score of a query and an item is ``query @ form @ item``, with a form for text queries and
one for image queries. Only the query's vector is multiplied by the form, so a gallery's vectors,
and an index over them, work with any form or none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError
from itr_deploy.runtime.products import Vectors, product


@dataclass(frozen=True, eq=False)
class Projection:
    """Forms fitted to a matcher's scores.

    Attributes:
        forms: ``float32 [E, E]`` by the query's modality; queries without one stay as they are.
    """

    forms: Mapping[Modality, Vectors]

    def query(self, modality: Modality, embedding: Vectors) -> Vectors:
        """Vectors ``[Q, E]`` whose dot products with a gallery's are the queries' coarse scores."""
        form = self.forms.get(modality)
        return embedding if form is None else product(embedding, form.T)


PLAIN = Projection({})
"""The dot product itself."""


def read_projection(bundle: Bundle) -> Projection:
    """The forms that a bundle's pipeline names.

    Raises:
        BundleError: A file does not hold a finite ``float32 [E, E]``.
    """
    named = bundle.manifest.pipeline.projections
    return Projection({query: _read_form(bundle, name) for query, name in named.items()})


def _read_form(bundle: Bundle, name: str) -> Vectors:
    path, width = bundle.path / name, bundle.manifest.embedding_dim
    remedy = "fit it again with itr-deploy tune"
    try:
        form: Vectors = np.load(io.BytesIO(bundle.read(name)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path}: not a NumPy array ({error}); {remedy}") from error
    found = f"{form.dtype} {list(form.shape)}" if isinstance(form, np.ndarray) else "an archive"
    if found != f"float32 [{width}, {width}]":
        raise BundleError(
            f"{path}: {found}, where this bundle's coarse embeddings need float32 "
            f"[{width}, {width}]; {remedy}"
        )
    if not np.isfinite(form).all():
        raise BundleError(f"{path}: has values that are not finite; {remedy}")
    return form
