from __future__ import annotations

import base64
import datetime
import gzip
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from itr_deploy import Gallery, Matcher, Retriever
from tests.serving.conftest import Served
from tests.support.asked import asked, base64_of, refused
from tests.support.duals import GRID, PICTURES, export_words
from tests.support.exports import Bundles
from tests.support.items import captions, images, names
from tests.support.leaprr import SMALL
from tests.support.retrieval import CONDITIONS, COUNT, QUERIES


@pytest.fixture(scope="module")
def retriever(served: Served) -> Retriever:
    return served.retriever()


@pytest.fixture(scope="module")
def client(retriever: Retriever, served: Served) -> Iterator[TestClient]:
    with asked(retriever, pictures=served.pictures, max_k=50, max_texts=4) as client:
        yield client


def search(client: TestClient, **body: object) -> dict:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("where", CONDITIONS)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"candidates": None},
        {"candidates": 12, "k": 20},
        {"prefilter": None},
        {"candidates": 12, "refine": 20},
        {"refine": None},
    ],
)
def test_hits_are_those_of_the_retriever(
    client: TestClient, retriever: Retriever, where: str | None, how: dict
) -> None:
    expected = retriever.search(QUERIES[0], where=where, **how)
    found = search(client, query=QUERIES[0], where=where, **how)
    assert [(hit["id"], hit["rank"], hit["metadata"]) for hit in found["hits"]] == [
        (hit.id, hit.rank, hit.metadata) for hit in expected
    ]
    np.testing.assert_array_equal([hit["score"] for hit in found["hits"]], expected.scores)
    assert found["gallery"] == {"version": 2, "count": COUNT}
    assert found["partial"] is False


def test_a_damaged_gallery_is_no_fault_of_the_client(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Path(shutil.copytree(served.gallery, tmp_path / "gallery"))
    with asked(Retriever.load(served.bundle, gallery, resident=False)) as client:
        search(client, query=QUERIES[0])
        for file in (gallery / "items.lance" / "data").iterdir():
            file.unlink()
        for body in ({}, {"where": "year > 0"}):
            response = client.post("/v1/search", json={"query": QUERIES[0], **body})
            assert "damaged" not in refused(response, 503)
        refused(client.get("/v1/items/item0001"), 503)
    assert f"{gallery}: damaged" in caplog.text


def test_several_queries_have_results_in_their_order(
    client: TestClient, retriever: Retriever
) -> None:
    found = search(client, queries=QUERIES, k=3)["results"]
    for result, expected in zip(found, retriever.search(QUERIES, 3), strict=True):
        assert [hit["id"] for hit in result["hits"]] == list(expected.ids)


def test_timings_are_told_by_stage_and_to_the_browser(client: TestClient) -> None:
    response = client.post("/v1/search", json={"query": QUERIES[0]})
    timings = response.json()["timings_ms"]
    assert {"queue", "encode", "match", "total"} <= set(timings)
    assert all(value >= 0 for value in timings.values())
    assert f"match;dur={timings['match']}" in response.headers["Server-Timing"]


def test_unknown_words_are_told(client: TestClient) -> None:
    assert search(client, query="a dog xylophones")["unknown_words"] == ["xylophones"]


def test_what_matched_is_told_of_every_hit(client: TestClient, retriever: Retriever) -> None:
    found = search(client, query=QUERIES[0], k=2, explain=True)["hits"]
    for hit in found:
        expected = retriever.explain(QUERIES[0], hit["id"])
        told = hit["explanation"]
        assert [word["text"] for word in told["words"]] == list(expected.words)
        np.testing.assert_allclose(told["attention"], expected.attention, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "nothing is given; give query, queries, image or regions, one of them"),
        ({"query": "a", "queries": ["b"]}, "both query and queries are given"),
        ({"query": None}, "query is null"),
        ([], "the body: must be a JSON object"),
        ({"queries": ["a", ""]}, "queries.1: is empty"),
        ({"query": 1}, "query: must be a valid string"),
        ({"query": " "}, "query: is blank; give at least one word"),
        ({"query": "a", "k": 0}, "k: must be greater than or equal to 1"),
        ({"query": "a", "k": "5"}, "k: must be a valid integer"),
        ({"query": "a", "k": 51}, "k is 51; ask for at most 50 hits"),
        ({"query": "a", "limit": 5}, "limit: is no field of this request"),
        ({"queries": ["a"] * 5}, "queries has 5 entries; give at most 4"),
        ({"queries": []}, "queries: is empty"),
        ({"query": "a", "where": "price < 4"}, "there is no column 'price'"),
        ({"query": "a", "where": "1; drop table items"}, "is not understood"),
        ({"query": "a " * 400}, "has 402 tokens"),
        ({"query": "a", "rerank": True}, "does not re-rank; see reranks of /v1/models"),
        ({"image": "aGFsbG8="}, "compares them with texts alone; see takes of /v1/models"),
        ({"regions": [[0.0]]}, "takes no regions as a query"),
        ({"query": "a", "explain": True, "k": 30}, "k of at most 20"),
        ({"queries": ["a", "b"], "explain": True}, "explain is for the hits of one text"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    client: TestClient, body: dict | list, told: str
) -> None:
    said = refused(client.post("/v1/search", json=body), 422)
    assert told in said
    assert "/tmp" not in said


@pytest.mark.parametrize("body", ["", "{", '{"query": "a"', "[1,", "\x00", '{"query": "\\ud800"}'])
def test_what_is_no_json_is_refused(client: TestClient, body: str) -> None:
    response = client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    refused(response, response.status_code)


def test_a_compressed_body_is_refused_as_one(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"query": "a"}')
    told = refused(client.post("/v1/search", content=body, headers=headers), 415)
    assert told == "the body is encoded as gzip; send it without Content-Encoding"


@pytest.fixture(scope="module")
def texts(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    """Searches texts by the regions of an image; a column has what JSON has no form for."""
    gallery = Gallery.create(tmp_path_factory.mktemp("texts") / "gallery", matcher, "text")
    columns = {
        "when": [datetime.date(2026, 11, number) for number in range(1, 5)],
        "odd": [math.nan, math.inf, 0.5, -math.inf],
    }
    gallery.add(list("abcd"), QUERIES, columns)
    return Retriever(matcher, gallery)


def test_texts_are_found_by_regions_and_their_values_are_json(texts: Retriever) -> None:
    image = images(1)[0]
    with asked(texts) as client:
        hits = search(client, regions=image.tolist(), k=4)["hits"]
        assert [hit["id"] for hit in hits] == list(texts.search(image=image).ids)
        found = {hit["id"]: hit["metadata"] for hit in hits}
        assert found["a"] == {"when": "2026-11-01", "odd": None}
        assert found["c"]["odd"] == 0.5
        told = refused(client.post("/v1/search", json={"query": "a dog"}), 422)
        assert told == "the gallery holds texts; search it with an image"
        told = refused(client.post("/v1/search", json={"regions": [[1.0], [1.0, 2.0]]}), 422)
        assert "rows of different lengths" in told
        told = refused(client.post("/v1/search", json={"regions": [[1.0]]}), 422)
        assert "32" in told
        told = refused(client.post("/v1/search", json={"image": "aGFsbG8="}), 422)
        assert "without a detector" in told


@pytest.mark.slow
def test_a_picture_finds_what_the_retriever_finds(bundles: Bundles, tmp_path: Path) -> None:
    pixels = Matcher.load(bundles.of(*export_words(GRID)))
    gallery = Gallery.create(tmp_path / "gallery", pixels)
    gallery.add([path.name for path in PICTURES], PICTURES)
    retriever = Retriever(pixels, gallery)
    with asked(retriever) as client:
        expected = retriever.search(image=PICTURES[0], k=2)
        assert expected[0].id == PICTURES[0].name
        found = search(client, image=base64_of(PICTURES[0]), k=2)["hits"]
        assert [hit["id"] for hit in found] == list(expected.ids)
        uri = f"data:image/png;base64,{base64_of(PICTURES[0])}"
        assert search(client, image=uri, k=2)["hits"] == found
        lines = base64.encodebytes(PICTURES[0].read_bytes()).decode()
        assert search(client, image=lines, k=2)["hits"] == found
        for bad, told in (
            ("%%%", "image is not base64"),
            ("data:image/png,abc", "a data URI that is not in base64"),
            ("aGFsbG8=", "not a picture that is decoded here"),
        ):
            assert told in refused(client.post("/v1/search", json={"image": bad}), 422)


@pytest.mark.slow
def test_re_ranked_hits_are_those_of_the_retriever(
    bundle: Path, bundles: Bundles, tmp_path: Path
) -> None:
    path = bundles.of(*SMALL.words(bundle))
    matcher = Matcher.load(path)
    Gallery.create(tmp_path / "images", matcher).add(names(40, "image"), images(40))
    Gallery.create(tmp_path / "texts", matcher, "text").add(names(40, "text"), captions(40))
    retriever = Retriever.load(path, tmp_path / "images", bank=tmp_path / "texts")
    with asked(retriever) as client:
        assert client.get("/v1/models").json()["data"][0]["reranks"]
        expected = retriever.search(QUERIES[0], 20, rerank=True)
        found = search(client, query=QUERIES[0], k=20, rerank=True)["hits"]
        assert [hit["id"] for hit in found] == list(expected.ids)
        assert [hit["rerank_score"] for hit in found] == [hit.rerank_score for hit in expected]
        assert [hit["matcher_rank"] for hit in found] == [hit.matcher_rank for hit in expected]
        # What cannot be done is no reason to look for changes while all others wait.
        Gallery.open(tmp_path / "images").delete(["image0001"])
        body = {"query": QUERIES[0], "rerank": True, "where": "id < 'image0004'"}
        assert "re-ranker" in refused(client.post("/v1/search", json=body), 422)
        assert search(client, query=QUERIES[0])["gallery"]["count"] == 40


def test_a_gallery_that_was_replaced_on_disk_is_searched_anew(
    served: Served, tmp_path: Path
) -> None:
    """Between a replacement and the next look at it, a search on disk finds no files."""
    place = Path(shutil.copytree(served.gallery, tmp_path / "gallery"))
    retriever = Retriever.load(served.bundle, place, resident=False, memory_budget=100_000)
    with asked(retriever) as client:
        assert len(search(client, query=QUERIES[0])["hits"]) == 10
        shutil.rmtree(place)
        Gallery.create(place, Matcher.load(served.bundle)).add(["a", "b"], images(2))
        found = search(client, query=QUERIES[0])
        assert sorted(hit["id"] for hit in found["hits"]) == ["a", "b"]
        assert found["gallery"]["count"] == 2
