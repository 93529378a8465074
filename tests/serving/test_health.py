from __future__ import annotations

from itr_deploy import Retriever
from itr_deploy.serving import service as services
from tests.serving.conftest import Served
from tests.support.asked import asked, refused
from tests.support.retrieval import COUNT, QUERIES


def test_a_service_that_searches_is_ready_and_counts(served: Served) -> None:
    with asked(served.retriever()) as client:
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert all(client.head(path).status_code == 200 for path in ("/", "/livez", "/readyz"))
        client.post("/v1/search", json={"query": QUERIES[0]})
        client.post("/v1/search", json={"query": ""})
        figures = client.get("/metrics").text
    assert 'itr_requests_total{code="200",route="/v1/search"} 1.0' in figures
    assert 'itr_requests_total{code="422",route="/v1/search"} 1.0' in figures
    assert 'itr_stage_seconds_count{stage="match"} 1.0' in figures
    assert f"itr_gallery_items {float(COUNT)}" in figures
    assert "itr_ready 1.0" in figures
    assert 'family="imram"' in figures


def test_a_service_that_is_loading_says_when_to_come_back(served: Served) -> None:
    with asked(served.retriever()) as client:
        client.service.held._retriever = None
        assert client.get("/livez").status_code == 200
        for response in (client.get("/readyz"), client.post("/v1/search", json={"query": "a"})):
            assert "are being loaded; try again in 5 s" in refused(response, 503)
            assert response.headers["Retry-After"] == "5"


def test_a_draining_service_answers_and_is_not_ready(served: Served) -> None:
    with asked(served.retriever()) as client:
        client.service.drain()
        assert "shutting down" in refused(client.get("/readyz"), 503)
        assert client.post("/v1/search", json={"query": QUERIES[0]}).status_code == 200
        assert client.get("/livez").status_code == 200


def test_readiness_is_a_search_that_succeeds(served: Served, monkeypatch) -> None:
    monkeypatch.setattr(services, "FRESH", -1.0)
    retriever = served.retriever()
    with asked(retriever) as client:
        assert client.get("/readyz").status_code == 200
        assert "itr_ready 1.0" in client.get("/metrics").text

        def failing(*args: object, **options: object) -> None:
            raise RuntimeError("no search")

        monkeypatch.setattr(Retriever, "search", failing)
        assert "a search to show" in refused(client.get("/readyz"), 503)
        assert "itr_ready 0.0" in client.get("/metrics").text


def test_a_fault_is_told_without_its_particulars(served: Served, monkeypatch) -> None:
    retriever = served.retriever()
    with asked(retriever) as client:

        def failing(*args: object, **options: object) -> None:
            raise RuntimeError("/home/secret")

        monkeypatch.setattr(Retriever, "search", failing)
        told = refused(client.post("/v1/search", json={"query": "a"}), 500)
        assert "secret" not in told
