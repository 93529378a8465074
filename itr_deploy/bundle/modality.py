"""The two modalities, the two directions of a search, and the graphs that serve each.

A direction is named by its query's modality wherever there is a choice: ``"text"`` searches images.
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
    "rerank_text_to_image",
    "rerank_image_to_text",
]

DIRECTIONS: Mapping[Modality, Direction] = {"image": "image_to_text", "text": "text_to_image"}
"""The direction of a query's modality, in the order in which the field reports them."""

MODALITIES: tuple[Modality, ...] = tuple(DIRECTIONS)

Roles = Mapping[Modality, GraphRole]
"""The graph of each direction, by the query's modality, in the order in which they are exported."""

MATCHERS: Roles = {"text": "match_text_to_image", "image": "match_image_to_text"}
PREFILTERS: Roles = {"text": "prefilter_text_to_image", "image": "prefilter_image_to_text"}
RERANK_GRAPHS: Roles = {"text": "rerank_text_to_image", "image": "rerank_image_to_text"}
ENCODERS: frozenset[GraphRole] = frozenset({"image_encoder", "text_encoder"})


def other(modality: Modality) -> Modality:
    """The modality of the items that a query of this one searches."""
    return "image" if modality == "text" else "text"


def direction_title(query: Modality) -> str:
    """The direction for people, for example ``text to image``."""
    return DIRECTIONS[query].replace("_", " ")


def query_of(role: GraphRole) -> Modality | None:
    """The modality of the queries that a graph serves, None for an encoder."""
    for roles in (MATCHERS, PREFILTERS, RERANK_GRAPHS):
        for query, own in roles.items():
            if own == role:
                return query
    return None
