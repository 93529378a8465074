from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from itr_deploy.errors import InputError, UsageError
from itr_deploy.serving.middleware import SafeHeaders
from itr_deploy.serving.settings import check_origins, read_keys
from tests.serving.conftest import Served
from tests.support.asked import asked, refused

OPEN = ("/", "/livez", "/readyz", "/openapi.json", "/page/main.js")
CLOSED = ("/v1/models", "/metrics", "/v1/items/a", "/v1/items/a/picture")


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[TestClient]:
    how = {
        "keys": ("s3cret", "other"),
        "admin_keys": ("root",),
        "cors_origins": ("https://a.example",),
    }
    with asked(served.retriever(), max_body=2000, **how) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", OPEN)
def test_what_holds_nothing_of_the_gallery_needs_no_key(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), bearer(""), {"Authorization": "Basic s3cret"}, bearer("root")]
)
def test_the_rest_needs_a_key(client: TestClient, path: str, headers: dict[str, str]) -> None:
    response = client.get(path, headers=headers)
    assert "Authorization: Bearer KEY" in refused(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("key", ["s3cret", "other"])
def test_any_of_the_keys_opens(client: TestClient, key: str) -> None:
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200


def test_a_reload_needs_a_key_of_its_own(client: TestClient) -> None:
    refused(client.post("/admin/reload", headers=bearer("s3cret")), 401)
    told = client.post("/admin/reload", headers=bearer("root")).json()
    assert told["gallery"]["version"] == 2
    assert client.get("/v1/models", headers=bearer("other")).status_code == 200


def test_without_a_key_file_there_is_no_reload(served: Served) -> None:
    with asked(served.retriever()) as client:
        refused(client.post("/admin/reload"), 404)


def test_other_pages_may_ask_if_they_are_named(client: TestClient) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    named = client.options("/v1/search", headers={"Origin": "https://a.example", **asks})
    assert named.headers["Access-Control-Allow-Origin"] == "https://a.example"
    other = client.options("/v1/search", headers={"Origin": "https://b.example", **asks})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_large_body_is_refused_before_it_is_read(client: TestClient) -> None:
    body = {"query": "a" * 3000}
    told = refused(client.post("/v1/search", json=body, headers=bearer("s3cret")), 413)
    assert "more than 2000 bytes" in told
    chunks = (b'{"query": "' + b"a" * 500 for _ in range(9))
    told = refused(client.post("/v1/search", content=chunks, headers=bearer("s3cret")), 413)
    assert "more than 2000 bytes" in told


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nothing"])
def test_browsers_are_told_what_is_not_needed(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == SafeHeaders.CSP
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "server" not in headers


def test_a_request_has_an_id(client: TestClient) -> None:
    assert client.get("/livez", headers={"X-Request-ID": "my-1"}).headers["X-Request-ID"] == "my-1"
    given = client.get("/livez", headers={"X-Request-ID": "a\tb" * 40}).headers["X-Request-ID"]
    assert len(given) == 32


def test_what_is_not_there_is_refused_in_the_same_form(client: TestClient) -> None:
    assert "there is no /nothing" in refused(client.get("/nothing", headers=bearer("other")), 404)
    response = client.put("/v1/search", headers=bearer("other"))
    assert "takes no PUT" in refused(response, 405)
    assert response.headers["Allow"] == "POST"


def test_keys_are_the_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n\nfirst\n  second \n")
    assert read_keys(file, "api_key_file") == ("first", "second")
    for content, told in (
        (b"\n# none\n", "has no key"),
        (b"a b\n", "characters that a header cannot hold"),
        (b"x" * 70_000, "larger than 65536 bytes"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=told):
            read_keys(file, "api_key_file")
    with pytest.raises(InputError, match="no such file"):
        read_keys(tmp_path / "absent", "api_key_file")


@pytest.mark.parametrize("origin", ["a.example", "https://", "https://a.example/", "ftp://a"])
def test_an_origin_has_a_scheme_and_a_host_alone(origin: str) -> None:
    with pytest.raises(UsageError, match="is no origin"):
        check_origins([origin])
