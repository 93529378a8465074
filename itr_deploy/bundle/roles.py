"""The roles of graphs: the encoders, and by the modality of the query those that score pairs."""

from __future__ import annotations

from collections.abc import Mapping

from itr_deploy.bundle.manifest import GraphRole, Modality

Roles = Mapping[Modality, GraphRole]

MATCHERS: Roles = {"text": "match_text_to_image", "image": "match_image_to_text"}
PREFILTERS: Roles = {"text": "prefilter_text_to_image", "image": "prefilter_image_to_text"}
ENCODERS: frozenset[GraphRole] = frozenset({"image_encoder", "text_encoder"})
