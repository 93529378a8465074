from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Client, Retriever
from itr_deploy.errors import InputError, ServiceError, UsageError
from tests.serving.conftest import Served
from tests.support.items import names
from tests.support.retrieval import QUERIES, shown
from tests.support.servers import Running, running_server


@pytest.fixture(scope="module")
def retriever(served: Served) -> Retriever:
    return served.retriever()


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url, retries=0) as client:
        yield client


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"k": 3, "where": "split = 'test'"},
        {"candidates": None},
        {"prefilter": None},
        {"candidates": 12, "refine": 20},
        {"refine": None},
    ],
)
def test_hits_are_those_of_the_retriever(client: Client, retriever: Retriever, how: dict) -> None:
    found, expected = client.search(QUERIES[0], **how), retriever.search(QUERIES[0], **how)
    assert shown(found) == shown(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert [one.ids for one in client.search(QUERIES, **how)] == [
        one.ids for one in retriever.search(QUERIES, **how)
    ]
    assert client.search([]) == []


def test_the_rest_is_that_of_the_retriever(client: Client, retriever: Retriever) -> None:
    (name, other) = names(2)
    found, expected = client.explain(QUERIES[0], name), retriever.explain(QUERIES[0], name)
    assert found.words == expected.words
    np.testing.assert_allclose(found.attention, expected.attention, rtol=1e-6)
    assert found.placed is not None
    assert expected.placed is not None
    np.testing.assert_allclose(found.placed.boxes, expected.placed.boxes, rtol=1e-6)
    scores = client.score(QUERIES[:2], [name, other])
    hits = {hit.id: hit.score for hit in retriever.search(QUERIES[1], 1000)}
    np.testing.assert_allclose(scores[1], [hits[name], hits[other]], atol=1e-6)
    assert client.about()["family"] == "imram"


def test_what_a_service_refuses_is_an_input_error(client: Client) -> None:
    with pytest.raises(InputError, match="there is no column 'price'"):
        client.search("a dog", where="price < 4")
    with pytest.raises(InputError, match="no such file or directory"):
        client.search(image="absent.png")
    with pytest.raises(InputError, match="with texts alone"):
        client.search(image=np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="give regions"):
        client.search(image=np.zeros((2, 3, 4), np.float32))
    with pytest.raises(UsageError, match="one of them"):
        client.search()
    with pytest.raises(UsageError, match="must begin with http"):
        Client("127.0.0.1:8080")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"image": np.full((2, 3), np.nan)}, "NaN or infinite"),
        ({"image": [["a", "b"]]}, "no picture and no regions"),
        ({"image": [[1.0, 2.0], [3.0]]}, "no picture and no regions"),
        ({"query": "half a \ud83d"}, "half of a character"),
        ({"query": ["a dog", 3]}, "text 1 is a int"),
        ({"query": "a dog", "candidates": "all"}, "candidates='all' must be a whole number"),
    ],
)
def test_what_cannot_be_sent_is_refused_before(client: Client, asked: dict, told: str) -> None:
    with pytest.raises((InputError, UsageError), match=told):
        client.search(**asked)


def test_a_text_is_not_taken_for_its_letters(client: Client) -> None:
    with pytest.raises(UsageError, match="texts='abc'"):
        client.score("abc", ["item0001"])


@pytest.mark.parametrize("key", ["", "a\nX-Other: b", "schlüssel", "a b"])
def test_a_key_is_what_a_header_can_hold(key: str) -> None:
    with pytest.raises(UsageError, match="api_key="):
        Client("http://127.0.0.1:9", api_key=key)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="is no address"):
        Client("http://[::1")


def test_another_server_is_told_from_a_service() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as other:
        answering = threading.Thread(target=other.handle_request)
        answering.start()
        with (
            Client(f"http://127.0.0.1:{other.server_port}") as client,
            pytest.raises(ServiceError, match="as no itr-deploy serve does"),
        ):
            client.about()
        answering.join(30)


def test_what_cannot_be_sent_is_refused_in_one_line(client: Client) -> None:
    with pytest.raises(InputError, match="half of a character"):
        client.search("\ud800")
    with pytest.raises(InputError, match="text 1 is a int"):
        client.search(["a dog", 5])
    with pytest.raises(UsageError, match="query=5 must be a list of texts"):
        client.search(5)
    with pytest.raises(UsageError, match="ids='item0001' must be a list"):
        client.score(["a dog"], "item0001")
    with pytest.raises(InputError, match="NaN or infinite"):
        client.search(image=np.full((2, 4), np.nan))
    with pytest.raises(InputError, match="no picture and no regions"):
        client.search(image=["a"])
    with pytest.raises(UsageError, match="a header cannot hold"):
        Client(client.url, api_key="k3y\n")
    client.close()
    with pytest.raises(UsageError, match="is closed; make another"):
        client.about()


@pytest.mark.parametrize(
    "answer", [b"<html>", b"", b"null", b"[]", b"{}", b'{"hits": 1}', b'{"hits": [{}]}', b"\xff"]
)
def test_what_another_server_answers_is_no_answer(answer: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        thread.start()
        try:
            with (
                Client(f"http://127.0.0.1:{other.server_port}", retries=0) as client,
                pytest.raises(ServiceError, match="as no itr-deploy serve does; check the address"),
            ):
                client.search("a dog")
        finally:
            other.shutdown()
            thread.join()


def test_a_service_that_is_not_there_is_named() -> None:
    with (
        Client("http://127.0.0.1:9", retries=1) as client,
        pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 cannot be reached"),
    ):
        client.search("a dog")


@pytest.mark.slow
def test_a_request_that_is_refused_for_now_is_tried_again(served: Served, tmp_path: Path) -> None:
    """A service of one place in its queue, asked by many at a time, who all get their hits."""
    from concurrent.futures import ThreadPoolExecutor

    key = tmp_path / "keys"
    key.write_text("k3y\n")
    options = ("--max-queue", 1, "--max-batch", 1, "--api-key-file", key)
    with running_server(served.bundle, served.gallery, tmp_path / "log.txt", *options) as server:
        with (
            Client(server.url, api_key="k3y", retries=50) as client,
            ThreadPoolExecutor(12) as pool,
        ):
            found = list(pool.map(lambda _: client.search(QUERIES[0], candidates=None), range(24)))
        assert len({hits.ids for hits in found}) == 1
        with Client(server.url, retries=0) as client, pytest.raises(ServiceError, match="401"):
            client.search("a dog")
        assert server.end() == 0
