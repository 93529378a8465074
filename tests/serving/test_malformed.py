"""Bodies that are no requests, or no JSON: one clear refusal each, and never a fault."""

from __future__ import annotations

import json

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.retrieval import QUERIES
from tests.support.servers import Running

VALID = {
    "/v1/search": {"query": QUERIES[0], "k": 3, "where": "year > 3", "candidates": None},
    "/v1/explain": {"query": QUERIES[0], "id": "item0001", "step": 1, "attends": "text"},
    "/v1/score": {"texts": QUERIES[:2], "ids": ["item0001", "item0002"]},
    "/v1/rerank": {"query": QUERIES[0], "documents": ["item0001", {"id": "item0002"}]},
    "/v1/embeddings": {"input": QUERIES[:2], "encoding_format": "base64"},
}

PIECES = st.sampled_from(
    [
        *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"\\u0000"),
        *(
            b"\0",
            b"\xff",
            b"\xc3\x28",
            b"\xef\xbb\xbf",
            b"\xed\xa0\x80",
            "\u202e\U0001f600".encode(),
        ),
        *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"1.0", b"9" * 400, b"[" * 3000),
        *(b'"k":1,' * 2, b'"query":"x",', b'"where":"year > 1 OR (",', b'"id":"\\u0000",'),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A route, and a body that was valid before something was put in or taken out."""
    route = draw(st.sampled_from(sorted(VALID)))
    body = json.dumps(VALID[route]).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 12)))
        body = body[:start] + draw(PIECES | st.binary(max_size=4)) + body[end:]
    return route, body


@pytest.fixture(scope="module")
def client(server: Running) -> httpx2.Client:
    with server.client(headers={"Content-Type": "application/json"}) as made:
        yield made


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(asked=damaged())
def test_a_damaged_body_is_answered_or_refused(client: httpx2.Client, asked: tuple[str, bytes]):
    route, body = asked
    answer = client.post(route, content=body)
    assert answer.status_code in (200, 400, 404, 422), (route, body, answer.text)
    told = answer.json()
    if answer.status_code != 200:
        assert set(told["error"]) == {"code", "message", "hint", "request_id"}
        assert told["error"]["message"].strip()
        assert "\n" not in told["error"]["message"]
        assert len(answer.content) < 9000


@pytest.mark.parametrize("route", sorted(VALID))
def test_what_is_damaged_was_valid(client: httpx2.Client, route: str):
    assert client.post(route, json=VALID[route]).status_code == 200


def test_nothing_of_it_was_a_fault(client: httpx2.Client, server: Running):
    assert "Traceback" not in server.said
    assert ',code="500"' not in client.get("/metrics").text
