"""A server's process: it answers as the retriever does, and ends when it is told."""

from __future__ import annotations

from tests.serving.conftest import Served
from tests.support.retrieval import QUERIES
from tests.support.servers import Running


def test_hits_are_those_of_the_retriever(server: Running, served: Served):
    (expected,) = served.retriever().search(QUERIES[:1])
    with server.client() as client:
        answer = client.post("/v1/search", json={"query": QUERIES[0]}).raise_for_status().json()
    assert [hit["id"] for hit in answer["hits"]] == list(expected.ids)
    assert [hit["metadata"] for hit in answer["hits"]] == [dict(m) for m in expected.metadata]
