"""Clients that send too slowly, or too much, are sent away; the others notice nothing."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.serving.conftest import Served
from tests.support.retrieval import QUERIES
from tests.support.servers import SHORT, Running, holding, running_server, until

MOST = 65_536
"""Bytes of a body."""

KEY = "a-key-of-32-characters-or-thereabouts"

HEAD = f"POST /v1/search HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
JSON = HEAD + b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, nothing is computed."""
    return tmp_path_factory.mktemp("hold") / "hold"


@pytest.fixture(scope="module")
def strict(
    served: Served, hold: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server of little patience: a second for a head, a body or an answer."""
    root = tmp_path_factory.mktemp("strict")
    (root / "keys").write_text(f"# whose\n{KEY}\n")
    options = "--max-body", MOST, "--request-timeout", 1, "--api-key-file", root / "keys"
    code = SHORT + holding(hold)
    with running_server(
        served.bundle, served.gallery, root / "log", *options, fault=code
    ) as running:
        yield running
        assert running.end() == 0, running.said
        assert "Traceback" not in running.said


def connected(running: Running) -> socket.socket:
    return socket.create_connection(running.place, 30)


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def dripping(connection: socket.socket, drop: bytes) -> Iterator[None]:
    """Send a few bytes again and again in another thread."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.1):
            try:
                connection.sendall(drop)
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_served(running: Running) -> bool:
    try:
        with running.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
            return client.get("/v1/models").status_code == 200
    except httpx2.HTTPError:
        return False


def test_heads_that_never_end_are_closed_and_others_are_served(strict: Running):
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(strict)) for _ in range(20)]
        for connection in slow:
            connection.sendall(HEAD)
        stack.enter_context(dripping(slow[0], b"X-A: b\r\n"))
        assert is_served(strict)
        assert {everything(connection) for connection in slow} == {b""}
    assert is_served(strict)


def test_a_head_without_an_end_is_not_kept(strict: Running):
    line = b"X-A: " + b"b" * 8000 + b"\r\n"
    with connected(strict) as connection:
        connection.sendall(HEAD)
        for _ in range(12):
            try:
                connection.sendall(line)
            except OSError:  # it is closed already
                break
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 400 ") or not answer
    assert is_served(strict)


def test_one_connection_too_many_is_told_to_come_back(strict: Running):
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connected(strict))
        further = stack.enter_context(connected(strict))
        further.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = everything(further)
        for _ in range(10):
            stack.enter_context(connected(strict))
        assert everything(stack.enter_context(connected(strict))) == b""
    assert answer.startswith(b"HTTP/1.1 503 "), answer
    assert b'"too_many_connections"' in answer
    assert b"retry-after: 1" in answer
    until(lambda: is_served(strict))


def test_a_connection_that_asks_nothing_is_closed(strict: Running):
    with connected(strict) as connection:
        assert everything(connection) == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_never_ends_is_refused(strict: Running, framing: bytes):
    drop = b" " if b"Length" in framing else b"1\r\n \r\n"
    with connected(strict) as connection:
        connection.sendall(JSON + framing + b"\r\n\r\n" + drop)
        with dripping(connection, drop):
            assert is_served(strict)
            answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b'"body_too_slow"' in answer
    assert b"connection: close" in answer.lower()


def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent(strict: Running):
    with connected(strict) as connection:
        connection.sendall(JSON + b"Content-Length: %d\r\n\r\n" % (MOST + 1))
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert b'"too_large"' in answer


def test_a_body_that_grows_too_large_is_refused(strict: Running):
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    with connected(strict) as connection:
        connection.sendall(JSON + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk + chunk)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413 "), answer


def test_a_body_as_large_as_may_be_is_read(strict: Running):
    body = json.dumps({"query": QUERIES[0]}).encode().ljust(MOST)
    with strict.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        headers = {"Content-Type": "application/json"}
        until(lambda: client.post("/v1/search", content=body, headers=headers).status_code == 200)


@pytest.mark.parametrize("size", [70_000, 140_000, 230_000])
def test_a_large_request_that_arrives_at_once_is_no_long_head(server: Running, size: int):
    body = json.dumps({"query": QUERIES[0]}).encode().ljust(size)
    head = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    asked = head + b"Content-Length: %d\r\n\r\n" % size + body
    with connected(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(asked))
        # One after the other, then the next before the answer of the one before.
        for number in (1, 1, 2):
            connection.sendall(number * asked)
            for _ in range(number):
                assert connection.recv(12) == b"HTTP/1.1 200"
                _rest(connection)


def _rest(connection: socket.socket) -> None:
    """Read an answer to its end."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    length = int(re.search(rb"content-length: (\d+)", answer)[1])
    while length:
        length -= len(connection.recv(length))


def test_who_reads_no_answers_is_left(strict: Running):
    """Answers that nobody reads are kept no longer than a while, nor the requests behind them."""
    body = json.dumps({"queries": 64 * [QUERIES[0]], "k": 1000}).encode()
    asked = JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connected(strict) as connection:
        own = connection.getsockname()[1]
        connection.setblocking(False)
        # Requests behind one another, until neither side takes any more.
        waiting = b""

        def left() -> bool:
            nonlocal waiting
            waiting = waiting or asked
            try:
                waiting = waiting[connection.send(waiting) :]
            except BlockingIOError:
                pass
            except OSError:
                return True
            return own not in strict.peers

        until(lambda: own in strict.peers)
        until(left, 60)
    assert is_served(strict)


def test_a_body_that_comes_with_its_head_is_read(strict: Running):
    body = json.dumps({"query": QUERIES[0]}).encode().ljust(MOST)
    request = JSON + b"Content-Length: %d\r\n\r\n" % MOST + body
    with connected(strict) as connection:
        connection.sendall(request)
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")


def test_an_offer_of_http_2_is_passed_over(strict: Running):
    body = json.dumps({"query": QUERIES[0]}).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    request = JSON + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connected(strict) as connection:
        for part in (request, request[:40], request[40:-5], request[-5:]):
            connection.sendall(part)
        answer = b""
        while answer.count(b'"unknown_words"') < 2:
            part = connection.recv(65536)
            assert part, answer[-200:]
            answer += part
    assert answer.count(b"HTTP/1.1 200 ") == 2
    with connected(strict) as connection:
        connection.sendall(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_many_requests_at_once_are_answered_in_turn(strict: Running):
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Padding: %s\r\n\r\n" % (b"x" * 1000)
    with connected(strict) as connection:
        connection.sendall(100 * request)
        answer = b""
        while answer.count(b'"alive"') < 100:
            part = connection.recv(65536)
            assert part, answer[-200:]
            answer += part
    assert answer.count(b"HTTP/1.1 200 ") == 100


def test_a_body_that_goes_on_after_the_answer_is_closed(strict: Running):
    head = JSON.replace(KEY.encode(), b"wrong") + b"Content-Length: 1000\r\n\r\n"
    with connected(strict) as connection:
        connection.sendall(head)
        with dripping(connection, b" "):
            answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 401 "), answer


@pytest.mark.parametrize(
    "given",
    [None, "Bearer", f"Basic {KEY}", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", KEY],
)
def test_a_wrong_key_is_refused(strict: Running, given: str | None):
    headers = {} if given is None else {"Authorization": given}
    with strict.client(headers=headers) as client:
        for answer in (
            client.post("/v1/search", json={"query": QUERIES[0]}),
            client.get("/v1/models"),
            client.get("/metrics"),
        ):
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/livez").status_code == 200


def test_what_is_late_is_given_up_and_never_computed(strict: Running, hold: Path):
    bearer = {"Authorization": f"Bearer {KEY}"}

    def given_up() -> float:
        """How many requests were; those of other tests may be among them."""
        with strict.client(headers=bearer) as client:
            told = re.search(r'reason="deadline"} (\S+)', client.get("/metrics").text)
        return float(told[1]) if told else 0.0

    before = given_up()
    hold.touch()
    try:
        with strict.client(headers=bearer) as client:
            late = [client.post("/v1/search", json={"query": QUERIES[0]}) for _ in range(3)]
    finally:
        hold.unlink()
    assert [answer.status_code for answer in late] == [504] * 3
    assert {answer.json()["error"]["code"] for answer in late} == {"deadline"}
    with strict.client(headers=bearer) as client:
        until(lambda: client.post("/v1/search", json={"query": QUERIES[1]}).status_code == 200)
    assert given_up() >= before + 3
