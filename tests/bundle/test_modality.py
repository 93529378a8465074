from __future__ import annotations

from typing import get_args

import pytest

from itr_deploy.bundle.modality import (
    DETECTOR_GRAPHS,
    DIRECTIONS,
    ENCODERS,
    EXPLAIN,
    MATCHERS,
    MODALITIES,
    PREFILTERS,
    REFINERS,
    RERANK_GRAPHS,
    Direction,
    GraphRole,
    Modality,
    direction_title,
    other,
    query_of,
)


def test_the_items_of_a_query_are_of_the_other_modality() -> None:
    assert set(MODALITIES) == set(get_args(Modality))
    for modality in MODALITIES:
        assert other(modality) != modality
        assert other(other(modality)) == modality


def test_a_direction_leads_from_its_query_to_the_other_modality() -> None:
    assert set(DIRECTIONS.values()) == set(get_args(Direction))
    for query, direction in DIRECTIONS.items():
        assert direction == f"{query}_to_{other(query)}"
        assert direction_title(query) == f"{query} to {other(query)}"


@pytest.mark.parametrize(
    ("roles", "kind"),
    [
        (MATCHERS, "match"),
        (PREFILTERS, "prefilter"),
        (REFINERS, "refine"),
        (RERANK_GRAPHS, "rerank"),
    ],
)
def test_a_graph_that_scores_serves_the_queries_of_its_direction(roles: dict, kind: str) -> None:
    assert dict(roles) == {query: f"{kind}_{way}" for query, way in DIRECTIONS.items()}
    assert {query_of(role): role for role in roles.values()} == dict(roles)


def test_every_role_has_a_direction_or_is_known_to_need_none() -> None:
    without = {role for role in get_args(GraphRole) if query_of(role) is None}
    assert without == {*ENCODERS, EXPLAIN, *DETECTOR_GRAPHS}
