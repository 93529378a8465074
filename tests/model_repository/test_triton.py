"""The real Triton server, on what `itr-deploy triton` writes."""

from __future__ import annotations

import http.client
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Hits, Matcher, Regions, Retriever, index, triton
from itr_deploy.model_repository.encoders import ENCODERS
from tests.support.duals import CAMERA, GRID, PICTURES, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.lhsc import LHSC, arrays
from tests.support.servers import until
from tests.support.triton import served, triton_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="Triton's wheel is for Linux on x86-64",
    ),
]
CLOSE = 1e-6
"""Largest difference of scores that were computed together with others."""


def texts(*given: str) -> tuple[list[int], str, list[str]]:
    return [len(given), 1], "BYTES", list(given)


def numbers(*given: int) -> tuple[list[int], str, list[int]]:
    return [len(given), 1], "INT32", list(given)


def floats(array: np.ndarray) -> tuple[list[int], str, bytes]:
    return list(array.shape), "FP32", np.ascontiguousarray(array, "<f4").tobytes()


def integers(array: np.ndarray, shape: list[int]) -> tuple[list[int], str, list[int]]:
    return shape, "INT64", array.ravel().tolist()


@dataclass(frozen=True)
class Client:
    """The client in a repository, and a server."""

    program: Path
    url: str

    def infer(self, model: str = "itr_search", **inputs: Any) -> dict[str, Any]:
        spec = spec_from_file_location("client", self.program)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.infer(self.url, inputs, model=model)

    def hits(self, **inputs: Any) -> list[list[tuple[str, float, str]]]:
        """Id, score and metadata of every hit, for every query."""
        found = self.infer(**inputs)
        width = len(found["ids"]) // len(found["count"])
        hits = list(zip(found["ids"], found["scores"], found["metadata"], strict=True))
        return [hits[row * width : row * width + count] for row, count in enumerate(found["count"])]

    def refusal(self, **inputs: Any) -> str:
        with pytest.raises(RuntimeError) as refused:
            self.infer(**inputs)
        return str(refused.value)


def assert_hits(found: list[tuple[str, float, str]], expected: Hits, close: float = 0.0) -> None:
    assert [name for name, _, _ in found] == list(expected.ids)
    scores = np.array([score for _, score, _ in found], np.float32)
    np.testing.assert_allclose(scores, expected.scores, rtol=0, atol=close)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triton")


@pytest.fixture(scope="module")
def gallery(folder: Path, matcher: Matcher) -> Gallery:
    made = Gallery.create(folder / "gallery", matcher)
    count = len(FULL.regions)
    prices = [float(number) for number in range(count - 1)] + [float("nan")]
    made.add([f"bild-ü{number}" for number in range(count)], FULL.regions, {"price": prices})
    return made


@pytest.fixture(scope="module")
def retriever(matcher: Matcher, gallery: Gallery) -> Retriever:
    return Retriever(matcher, gallery)


@pytest.fixture(scope="module")
def client(folder: Path, bundle: Path, gallery: Gallery) -> Iterator[Client]:
    # Every request looks for changes of the gallery.
    triton(bundle, gallery=gallery.path, output=folder / "repository", refresh=1e-6)
    with served(folder / "repository", folder) as url:
        yield Client(folder / "repository" / "client.py", url)


def test_a_query_gets_the_retrievers_hits(client: Client, retriever: Retriever) -> None:
    for caption in FULL.captions:
        (found,) = client.hits(query=texts(caption))
        assert_hits(found, retriever.search(caption))


def test_queries_of_a_request_have_their_own_k_and_filter(
    client: Client, retriever: Retriever
) -> None:
    asked = [(FULL.captions[0], 3, ""), (FULL.captions[1], 1, "price < 3"), ("boy", 9, "price < 0")]
    queries, ks, filters = zip(*asked, strict=True)
    found = client.hits(query=texts(*queries), k=numbers(*ks), where=texts(*filters))
    assert [len(hits) for hits in found] == [3, 1, 0]
    for (query, k, where), hits in zip(asked, found, strict=True):
        assert_hits(hits, retriever.search(query, k, where or None))


def test_requests_at_the_same_time_get_what_they_would_alone(
    client: Client, retriever: Retriever
) -> None:
    def ask(caption: str) -> list[tuple[str, float, str]]:
        # One in two asks for what it cannot have.
        client.refusal(query=texts(caption), where=texts("colour = 3"))
        return client.hits(query=texts(caption))[0]

    captions = FULL.captions * 4
    with ThreadPoolExecutor(8) as pool:
        for caption, found in zip(captions, pool.map(ask, captions), strict=True):
            assert_hits(found, retriever.search(caption), CLOSE)


def test_metadata_is_json_without_nan(client: Client) -> None:
    (found,) = client.hits(query=texts("boy"))
    columns = {name: metadata for name, _, metadata in found}
    assert columns["bild-ü1"] == '{"price": 1.0}'
    assert columns[f"bild-ü{len(FULL.regions) - 1}"] == '{"price": null}'


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"query": texts("boy"), "where": texts("price <")}, "where='price <' is not understood"),
        ({"query": texts("boy"), "where": texts("colour = 'red'")}, "there is no column 'colour'"),
        ({"query": texts("")}, "text 0 is empty"),
        ({"query": texts("boy", "")}, "row 1: text 0 is empty"),
        ({"query": texts("boy"), "k": numbers(0)}, "k=0 must be a whole number from 1 to 1000"),
        ({"query": texts("boy", "boy"), "k": numbers(1, 1001)}, "row 1: k=1001 must be"),
        ({"query": ([1, 1], "BYTES", b"\1\0\0\0\xff")}, "query is not UTF-8"),
        ({"k": numbers(1)}, "give a text as query, or an image as regions or picture"),
        ({"regions": floats(FULL.regions[:1])}, "holds images; search it with a text"),
        ({"query": texts("boy"), "regions": floats(FULL.regions[:1])}, "one of them"),
        ({"query": texts(*["boy"] * 9)}, "batch-size must be <= 8"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(
    client: Client, inputs: dict[str, Any], said: str
) -> None:
    message = client.refusal(**inputs)
    assert said in message
    assert "\n" not in message
    assert "Traceback" not in message


def test_what_others_add_to_the_gallery_is_found(
    client: Client, gallery: Gallery, retriever: Retriever
) -> None:
    rest = [f"bild-ü{number}" for number in range(len(FULL.regions))]
    assert {name for name, _, _ in client.hits(query=texts("boy"))[0]} == set(rest)
    gallery.add(["new"], FULL.regions[:1], {"price": [1.0]})
    try:
        # It is loaded beside the searches, which go on meanwhile.
        until(lambda: "new" in {name for name, _, _ in client.hits(query=texts("boy"))[0]})
        (found,) = client.hits(query=texts("boy"))
        assert_hits(found, retriever.search("boy"))
    finally:
        gallery.delete(["new"])
        until(lambda: "new" not in {name for name, _, _ in client.hits(query=texts("boy"))[0]})


def test_the_client_is_a_program(client: Client, retriever: Retriever, folder: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(client.program), "--url", client.url, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = run("boy", "-k", "2", "--where", "price < 3")
    assert done.returncode == 0, done.stderr
    ids = [line.split()[2] for line in done.stdout.splitlines()]
    assert ids == list(retriever.search("boy", 2, "price < 3").ids)
    np.save(folder / "regions.npy", FULL.regions[0])
    refused = run("--image", str(folder / "regions.npy"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1


def test_the_encoders_give_what_the_bundles_do(client: Client, matcher: Matcher) -> None:
    ids, lengths = FULL.token_ids.astype(np.int64), FULL.lengths.astype(np.int64)
    ids = np.ascontiguousarray(ids[:, : lengths.max()])
    given = {"token_ids": ids, "text_lengths": lengths}
    sent = {
        "token_ids": integers(ids, list(ids.shape)),
        "text_lengths": integers(lengths, [len(ids), 1]),
    }
    compare(client.infer("text_encoder", **sent), matcher.backend.run("text_encoder", given))
    regions = {"regions": np.ascontiguousarray(FULL.regions, np.float32)}
    found = client.infer("image_encoder", regions=floats(FULL.regions))
    compare(found, matcher.backend.run("image_encoder", regions))


def compare(found: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.array(found[name], np.float32), array.ravel())


def test_a_copy_needs_neither_bundle_nor_gallery(bundles: Bundles, tmp_path: Path) -> None:
    """Of a model of pixels, whose queries are texts and pictures."""
    bundle = Path(shutil.copytree(bundles.of(*export_words(GRID)), tmp_path / "bundle"))
    index(bundle, pictures=GRID.folder / "pictures", output=tmp_path / "gallery")
    triton(bundle, gallery=tmp_path / "gallery", output=tmp_path / "repository", copy=True)
    retriever = Retriever.load(bundle, tmp_path / "gallery")
    pictures = [retriever.search(image=path) for path in PICTURES]
    said = retriever.search("a dog")
    for given in ("bundle", "gallery"):
        shutil.rmtree(tmp_path / given)
    moved = (tmp_path / "repository").rename(tmp_path / "models")
    with served(moved, tmp_path) as url:
        client = Client(moved / "client.py", url)
        # Products of whole vectors: BLAS's last bits depend on where these lie in memory.
        assert_hits(client.hits(query=texts("a dog"))[0], said, CLOSE)
        for path, expected in zip(PICTURES, pictures, strict=True):
            content = path.read_bytes()
            sent = ([1, 1], "BYTES", len(content).to_bytes(4, "little") + content)
            assert_hits(client.hits(picture=sent)[0], expected, CLOSE)


@pytest.mark.full
def test_images_with_boxes_search_texts(bundles: Bundles, tmp_path: Path) -> None:
    case, bundle = CAMERA[1], bundles.of(*export_words(CAMERA[1]))
    matcher = Matcher.load(bundle)
    gallery = Gallery.create(tmp_path / "texts", matcher, modality="text")
    gallery.add([f"text{number}" for number in range(len(case.captions))], case.captions)
    triton(bundle, gallery=gallery.path, output=tmp_path / "repository")
    names = {"regions": "images", "boxes": "boxes", "picture_sizes": "img_sizes"}
    found = {own: np.asarray(case.inputs[name], np.float32) for own, name in names.items()}
    expected = Retriever(matcher, gallery).search(image=Regions(*found.values()))
    with served(tmp_path / "repository", tmp_path) as url:
        client = Client(tmp_path / "repository" / "client.py", url)
        hits = client.hits(**{name: floats(array) for name, array in found.items()})
    for one, other in zip(hits, expected, strict=True):
        assert_hits(one, other, CLOSE)


@pytest.mark.full
def test_texts_that_are_padded_together_get_what_they_would_alone(
    bundles: Bundles, tmp_path: Path
) -> None:
    matcher = Matcher.load(bundles.path(LHSC, "--text-padding", "published"))
    gallery = Gallery.create(tmp_path / "images", matcher)
    images = arrays("inputs")["images"]
    gallery.add([f"image{number}" for number in range(len(images))], images)
    triton(matcher.bundle.path, gallery=gallery.path, output=tmp_path / "repository")
    retriever, captions = Retriever(matcher, gallery), LHSC.captions[:6]
    with served(tmp_path / "repository", tmp_path) as url:
        found = Client(tmp_path / "repository" / "client.py", url).hits(query=texts(*captions))
    for caption, hits in zip(captions, found, strict=True):
        assert_hits(hits, retriever.search(caption))


@pytest.mark.full
def test_a_full_queue_is_said_to_be_one(bundle: Path, gallery: Gallery, tmp_path: Path) -> None:
    triton(bundle, gallery=gallery.path, output=tmp_path / "repository", max_queue=1)
    query = {"name": "query", "shape": [8, 1], "datatype": "BYTES", "data": FULL.captions[:8]}
    content = json.dumps({"inputs": [query]})
    with served(tmp_path / "repository", tmp_path) as url:

        def status(_: int) -> int:
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
            connection.request("POST", "/v2/models/itr_search/infer", content)
            return connection.getresponse().status

        with ThreadPoolExecutor(24) as pool:
            assert set(pool.map(status, range(100))) == {200, 503}


PARSE = """
import sys
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

for path in sys.argv[1:]:
    config = text_format.Parse(open(path, "rb").read(), ModelConfig())
    print(config.name, config.backend, config.parameters["bundle"].string_value)
"""


def test_configurations_are_what_triton_reads(
    bundle: Path, gallery: Gallery, tmp_path: Path, with_plans: Callable[[Path], Path]
) -> None:
    odd = tmp_path / 'a "bundle" \\ of ü'
    with_plans(Path(shutil.copytree(bundle, odd)))
    triton(odd, gallery=gallery.path, output=tmp_path / "models", device="cuda")
    files = [tmp_path / "models" / name / "config.pbtxt" for name in ("itr_search", *ENCODERS)]
    python = triton_environment() / "bin" / "python"
    done = subprocess.run(
        [python, "-c", PARSE, *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    search, *encoders = done.stdout.splitlines()
    assert search == f"itr_search python {odd}"
    assert [line.rstrip() for line in encoders] == [
        "text_encoder onnxruntime",
        "image_encoder tensorrt",
    ]
