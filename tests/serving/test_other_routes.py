from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from itr_deploy import Retriever
from tests.serving.conftest import SIZE, Served
from tests.support.asked import asked, refused
from tests.support.items import images, names
from tests.support.retrieval import COUNT, QUERIES

NAMES = names(4)


@pytest.fixture(scope="module")
def retriever(served: Served) -> Retriever:
    return served.retriever()


@pytest.fixture(scope="module")
def client(retriever: Retriever, served: Served) -> Iterator[TestClient]:
    with asked(retriever, pictures=served.pictures) as client:
        yield client


def test_what_matched_is_that_of_the_retriever(client: TestClient, retriever: Retriever) -> None:
    body = {"query": QUERIES[0], "id": NAMES[1], "step": 1}
    told = client.post("/v1/explain", json=body).json()
    expected = retriever.explain(QUERIES[0], NAMES[1], step=1)
    assert expected.placed is not None
    np.testing.assert_allclose(told["attention"], expected.attention, rtol=1e-6)
    boxes = [region["box"] for region in told["regions"]]
    np.testing.assert_allclose(boxes, expected.placed.boxes, rtol=1e-6)
    assert told["picture_size"] == list(SIZE)
    assert told["step"] == 1
    assert told["score"] == expected.score
    assert told["exact"] is expected.exact
    assert [step["step"] for step in told["steps"]] == [one.step for one in expected.steps]


def test_what_cannot_be_explained_is_refused(client: TestClient) -> None:
    def asked_for(status: int, **body: object) -> str:
        given = {"query": QUERIES[0], "id": NAMES[0], **body}
        return refused(client.post("/v1/explain", json=given), status)

    assert "no item 'absent'" in asked_for(404, id="absent")
    assert "step=99" in asked_for(422, step=99)
    assert "attends: must be 'image' or 'text'" in asked_for(422, attends="me")
    assert "tokens" in asked_for(422, query="a " * 400)


def test_scores_are_those_of_a_search(client: TestClient, retriever: Retriever) -> None:
    body = {"texts": QUERIES[:2], "ids": [NAMES[2], NAMES[0], NAMES[2]]}
    scores = client.post("/v1/score", json=body).json()["scores"]
    for row, hits in zip(scores, retriever.search(QUERIES[:2], COUNT), strict=True):
        found = {hit.id: hit.score for hit in hits}
        np.testing.assert_allclose(row, [found[name] for name in body["ids"]], atol=1e-6)


def test_regions_are_scored_as_the_matcher_does(client: TestClient, retriever: Retriever) -> None:
    regions = images(2)
    body = {"texts": QUERIES[:3], "regions": regions.tolist()}
    scores = client.post("/v1/score", json=body).json()["scores"]
    expected = retriever.matcher.score(texts=QUERIES[:3], images=regions).T
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert "one of them" in refused(client.post("/v1/score", json={"texts": ["a"]}), 422)


def test_documents_are_ordered_by_their_scores(client: TestClient, retriever: Retriever) -> None:
    documents = [NAMES[0], {"id": NAMES[1]}, NAMES[2], NAMES[3]]
    body = {"query": QUERIES[0], "documents": documents, "top_n": 3, "return_documents": True}
    results = client.post("/v1/rerank", json=body).json()["results"]
    order = [hit.id for hit in retriever.search(QUERIES[0], COUNT) if hit.id in NAMES]
    assert [result["document"]["id"] for result in results] == order[:3]
    assert [NAMES[result["index"]] for result in results] == order[:3]
    absent = {"query": "a", "documents": ["absent"]}
    assert "no item 'absent'" in refused(client.post("/v1/rerank", json=absent), 404)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_are_the_coarse_ones(
    client: TestClient, retriever: Retriever, form: str
) -> None:
    body = {"input": QUERIES[:2], "encoding_format": form}
    told = client.post("/v1/embeddings", json=body).json()
    expected = retriever.matcher.encode_texts(QUERIES[:2]).embedding
    vectors = [one["embedding"] for one in told["data"]]
    if form == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    assert told["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("route", "body", "told"),
    [
        ("embeddings", {"input": ["a", ""]}, "input.1: is empty"),
        ("embeddings", {"input": 5}, "input: must be a valid string"),
        ("rerank", {"query": "a", "documents": [{}]}, "documents.0.id: is missing"),
    ],
)
def test_of_alternatives_the_one_that_it_nearly_is_is_told(
    client: TestClient, route: str, body: dict, told: str
) -> None:
    assert told in refused(client.post(f"/v1/{route}", json=body), 422)


def test_models_say_what_is_served_and_what_it_can_do(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["family"]) == ("bundle", "imram")
    assert model["gallery"]["count"] == COUNT
    assert model["gallery"]["columns"] == {"split": "string", "year": "int64"}
    assert model["takes"] == {"text": True, "picture": False, "regions": False}
    assert "with texts alone" in model["no_picture_because"]
    assert model["prefilter"]
    assert model["refiner"]
    assert model["explains"]
    assert model["pictures"]


def test_an_item_is_told_with_its_columns_and_boxes(
    client: TestClient, retriever: Retriever
) -> None:
    told = client.get(f"/v1/items/{NAMES[1]}").json()
    assert told["metadata"] == {"split": "dev", "year": 1}
    (placed,) = retriever.gallery.boxes([NAMES[1]])
    assert placed is not None
    np.testing.assert_array_equal(np.float32(told["boxes"]), placed.boxes)
    for name in ("absent", "..%2F..%2Fetc%2Fpasswd", "a'b", "%00", "x" * 3000):
        assert "no item" in refused(client.get(f"/v1/items/{name}"), 404)


def test_a_picture_is_a_small_jpeg_that_a_browser_may_keep(client: TestClient) -> None:
    response = client.get(f"/v1/items/{NAMES[2]}/picture", params={"size": 24})
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    with Image.open(io.BytesIO(response.content)) as shown:
        assert shown.format == "JPEG"
        assert shown.size == (24, 16)
    again = client.get(
        f"/v1/items/{NAMES[2]}/picture",
        params={"size": 24},
        headers={"If-None-Match": response.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    refused(client.get(f"/v1/items/{NAMES[2]}/picture", params={"size": 1}), 422)


def test_no_picture_is_shown_from_elsewhere(served: Served, tmp_path: Path) -> None:
    root = Path(shutil.copytree(served.pictures, tmp_path / "pictures"))
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    (root / "link.png").symlink_to(secret)
    (root / "broken.png").write_bytes(b"not a picture")
    (root / "notes.txt").write_text("notes")
    (root / "folder.png").mkdir()
    copy = Path(shutil.copytree(served.gallery, tmp_path / "gallery"))
    retriever = Retriever.load(served.bundle, copy)
    odd = ["../secret.png", "link", "notes.txt", str(secret), "folder", "broken", "x" * 1000]
    columns = {"split": ["x"] * len(odd), "year": [1] * len(odd)}
    retriever.gallery.add(odd, images(len(odd)), columns)
    with asked(retriever, pictures=root) as client:
        for name in odd:
            address = f"/v1/items/{quote(name, safe='')}"
            assert client.get(address).json()["id"] == name
            assert "picture" in refused(client.get(f"{address}/picture"), 404)
        told = refused(client.get("/v1/items/broken/picture"), 404)
        assert "not a picture that is decoded here" in told
        assert str(tmp_path) not in told


@pytest.mark.parametrize("name", ["private", "private.png", ".hidden%2Fprivate", "%00"])
def test_what_is_not_in_the_gallery_is_not_shown(served: Served, tmp_path: Path, name: str) -> None:
    root = Path(shutil.copytree(served.pictures, tmp_path / "pictures"))
    (root / ".hidden").mkdir()
    for place in (root, root / ".hidden"):
        Image.new("RGB", (4, 4)).save(place / "private.png")
    with asked(served.retriever(), pictures=root) as client:
        assert "no item" in refused(client.get(f"/v1/items/{name}/picture"), 404)


def test_pictures_are_named_by_a_column(served: Served, tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "dev.png")
    with asked(served.retriever(), pictures=tmp_path, picture_names="split") as client:
        assert client.get(f"/v1/items/{NAMES[1]}/picture").status_code == 200
        refused(client.get(f"/v1/items/{NAMES[0]}/picture"), 404)


def test_without_pictures_there_are_none(served: Served) -> None:
    with asked(served.retriever()) as client:
        assert "shows no pictures" in refused(client.get(f"/v1/items/{NAMES[0]}/picture"), 404)


def test_ids_of_any_characters_have_an_address(served: Served, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(served.gallery, tmp_path / "gallery"))
    retriever = Retriever.load(served.bundle, copy)
    odd = ["a/b/picture", "a'b\"c", "ü 雪?&#", "%2e", "<b>"]
    retriever.gallery.add(odd, images(5), {"split": ["x"] * 5, "year": [1] * 5})
    with asked(retriever) as client:
        for name in odd:
            # The test client decodes an address twice.
            if not name.endswith("/picture") and "%" not in name:
                assert client.get(f"/v1/items/{quote(name, safe='')}").json()["id"] == name
        body = {"query": "a dog", "documents": odd}
        assert len(client.post("/v1/rerank", json=body).json()["results"]) == 5
