from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from itr_deploy import Retriever
from itr_deploy.serving import service as services
from itr_deploy.serving.queue import Job
from tests.serving.conftest import Served
from tests.support.asked import asked, refused
from tests.support.retrieval import COUNT, QUERIES
from tests.support.servers import until


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


def test_readiness_takes_an_encoder_that_works(served: Served, monkeypatch) -> None:
    monkeypatch.setattr(services, "FRESH", -1.0)
    retriever = served.retriever()
    with asked(retriever) as client:
        assert client.get("/readyz").status_code == 200
        backend, run = retriever.matcher.backend, retriever.matcher.backend.run

        def failing(graph: str, *given: object) -> object:
            if graph == "text_encoder":
                raise RuntimeError("no encoder")
            return run(graph, *given)

        monkeypatch.setattr(backend, "run", failing)
        assert "a search to show" in refused(client.get("/readyz"), 503)


def test_only_a_search_shows_that_searches_succeed(served: Served, monkeypatch) -> None:
    retriever = served.retriever()
    with asked(retriever) as client:
        monkeypatch.setattr(retriever, "search", lambda *args, **options: 1 / 0)
        client.service._searched = -services.FRESH
        assert client.post("/v1/embeddings", json={"input": "a dog"}).status_code == 200
        assert "a search to show" in refused(client.get("/readyz"), 503)


def test_whoever_asks_at_once_is_told_by_one_search(served: Served, monkeypatch) -> None:
    monkeypatch.setattr(services, "FRESH", -1.0)
    retriever, asking, go = served.retriever(), 10, threading.Event()
    with asked(retriever) as client, ThreadPoolExecutor(asking) as pool:
        queue = client.service.queue
        busy = queue.put(Job(lambda some: [go.wait(30)], None, None, 1, 30.0))
        answers = [pool.submit(client.get, "/readyz") for _ in range(asking)]
        until(lambda: queue.depth > 0)
        waiting = client.get("/metrics").text
        go.set()
        assert busy.result(30)
        assert {answer.result(30).status_code for answer in answers} == {200}
    assert "itr_queue_depth 1.0" in waiting


def test_a_fault_is_told_without_its_particulars(served: Served, monkeypatch) -> None:
    retriever = served.retriever()
    with asked(retriever) as client:

        def failing(*args: object, **options: object) -> None:
            raise RuntimeError("/home/secret")

        monkeypatch.setattr(Retriever, "search", failing)
        response = client.post("/v1/search", json={"query": "a"})
        assert "secret" not in refused(response, 500)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
