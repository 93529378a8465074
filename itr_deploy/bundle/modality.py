"""The two modalities, the two directions of a search, and the graphs that serve each.

Where possible, a direction is named by its query's modality: ``"text"`` searches images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Modality = Literal["image", "text"]
Direction = Literal["image_to_text", "text_to_image"]
GraphRole = Literal[
    "image_encoder",
    "text_encoder",
    "match_text_to_image",
    "match_image_to_text",
    "prefilter_text_to_image",
    "prefilter_image_to_text",
    "refine_text_to_image",
    "refine_image_to_text",
    "rerank_text_to_image",
    "rerank_image_to_text",
    "explain",
    "detector",
    "regions",
]

DIRECTIONS: Mapping[Modality, Direction] = {"image": "image_to_text", "text": "text_to_image"}
"""The direction for each query modality, in the order usual in the literature."""

MODALITIES: tuple[Modality, ...] = tuple(DIRECTIONS)

Roles = Mapping[Modality, GraphRole]
"""The graph of each direction, by the query's modality, in the order of export."""

MATCHERS: Roles = {"text": "match_text_to_image", "image": "match_image_to_text"}
PREFILTERS: Roles = {"text": "prefilter_text_to_image", "image": "prefilter_image_to_text"}
REFINERS: Roles = {"text": "refine_text_to_image", "image": "refine_image_to_text"}
RERANK_GRAPHS: Roles = {"text": "rerank_text_to_image", "image": "rerank_image_to_text"}
PAIR_SCORERS: frozenset[GraphRole] = frozenset(
    {*MATCHERS.values(), *PREFILTERS.values(), *REFINERS.values()}
)
"""The graphs that score queries with items of a gallery."""
EXPLAIN: GraphRole = "explain"
"""The graph of what in a pair attends to what, for pairs of either direction."""
ENCODERS: frozenset[GraphRole] = frozenset({"image_encoder", "text_encoder"})
DETECTOR_GRAPHS: frozenset[GraphRole] = frozenset({"detector", "regions"})
"""The graphs of a detector's bundle, of a picture and of its proposals."""


def other(modality: Modality) -> Modality:
    """The modality of the items that a query of this modality searches."""
    return "image" if modality == "text" else "text"


def direction_title(query: Modality) -> str:
    """The direction in human-readable form, for example ``text to image``."""
    return DIRECTIONS[query].replace("_", " ")


def query_of(role: GraphRole) -> Modality | None:
    """The modality of the queries that a graph serves, None for an encoder or a detector's."""
    for roles in (MATCHERS, PREFILTERS, REFINERS, RERANK_GRAPHS):
        for query, own in roles.items():
            if own == role:
                return query
    return None
