"""Bundles in half precision, made by the public command and run by the runtime."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from itr_deploy import Gallery, Matcher
from itr_deploy.bundle.modality import ENCODERS
from itr_deploy.bundle.store import PARITY, read_bundle
from itr_deploy.errors import SetupError
from itr_deploy.exporters.graphs import traced_graphs
from itr_deploy.models.registry import DEFAULT_OPSET, family
from itr_deploy.models.vse_infty.options import VseInftyOptions
from tests.support.cases import GoldenCase
from tests.support.command import itr_deploy
from tests.support.duals import VSE
from tests.support.exports import Bundles
from tests.support.golden import TEXT
from tests.support.leaprr import SMALL
from tests.support.threads import one_torch_thread

HALF = ("--dtype", "float16")
WORDS, PIECES, _ = VSE
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def products(path: Path, graph: str) -> Counter[int]:
    """How many products of a graph compute in which type."""
    info = read_bundle(path).manifest.graphs[graph]
    model = onnx.shape_inference.infer_shapes(onnx.load(path / info.file))
    known = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        known[value.name] = value.type.tensor_type.elem_type
    kinds = ("MatMul", "Gemm", "Conv", "GRU")
    return Counter(known[node.output[0]] for node in model.graph.node if node.op_type in kinds)


@pytest.fixture(scope="module")
def half(bundles: Bundles) -> Path:
    return bundles.path(TEXT, *HALF)


@pytest.fixture(scope="module")
def plain(bundles: Bundles) -> Path:
    """The same in float32."""
    return bundles.path(TEXT)


def test_every_product_of_a_pair_is_half_precision(half: Path) -> None:
    for graph, info in read_bundle(half).manifest.graphs.items():
        # The first layers of the encoders are float32.
        kept = {FLOAT} if info.role in ENCODERS else set()
        assert products(half, graph).keys() == {FLOAT16, *kept}, graph


def test_inputs_and_outputs_keep_the_types_of_a_float32_bundle(half: Path, plain: Path) -> None:
    assert read_bundle(half).manifest.precision == "float16"
    assert read_bundle(plain).manifest.precision == "float32"
    of_floats = {
        name: info
        for name, info in read_bundle(plain).manifest.graphs.items()
        if info.storage != "uint8"
    }
    assert read_bundle(half).manifest.graphs == of_floats


def test_products_read_the_gallery_without_widening_it_first(half: Path) -> None:
    model = onnx.load(half / "graphs/match_text_to_image.onnx")
    gathers = [node for node in model.graph.node if node.op_type == "Gather"]
    context = {n.output[0] for n in gathers if n.input[0].startswith("image_context")}
    readers = {node.op_type for node in model.graph.node if context & set(node.input)}
    assert len(context) == 2
    assert readers == {"MatMul", "Shape"}


def test_scores_stay_near_the_published_ones(half: Path) -> None:
    texts = (TEXT.token_ids, TEXT.lengths)
    scores = Matcher.load(half).score(texts=texts, images=TEXT.regions)
    # How far off is in tests/parity/test_half_precision.py: a CPU may not round at all.
    np.testing.assert_allclose(scores, TEXT.scores, atol=1e-2)


def test_a_gallery_serves_bundles_of_every_precision(
    half: Path, plain: Path, tmp_path: Path
) -> None:
    matcher = Matcher.load(plain)
    Gallery.create(tmp_path / "gallery", matcher).add(
        list(map(str, range(len(TEXT.regions)))), TEXT.regions
    )
    assert Gallery.open(tmp_path / "gallery", Matcher.load(half)).count() == len(TEXT.regions)


def test_the_gate_judges_half_precision_by_scores_and_ranks(half: Path) -> None:
    report = json.loads((half / PARITY).read_bytes())
    assert "in its own process" in report["backend"]
    tolerances = {entry["name"]: entry["tolerance"] for entry in report["outputs"]}
    assert tolerances["image_regions"] is None
    assert tolerances["image_embedding"] == 1e-2
    assert tolerances["match_text_to_image, float32"] == 1e-2
    for entry in report["ranks"]:
        assert entry["keep_within"] == 5
        assert entry["best_kept"][1:] == [1, 1]


def test_a_half_precision_bundle_is_verified_again(half: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(half, tmp_path / "bundle")
    with one_torch_thread():
        outcome = itr_deploy("verify", copy, "--checkpoint", TEXT.checkpoint, "--json")
    assert outcome.code == 0, outcome.err
    with one_torch_thread():
        missed = itr_deploy("verify", copy, "--checkpoint", TEXT.checkpoint, "--tolerance", "1e-6")
    assert missed.code == 3


@pytest.mark.full
def test_bfloat16_is_compared_where_no_cpu_runs_it(bundles: Bundles) -> None:
    path = bundles.path(TEXT, "--dtype", "bfloat16")
    errors = {
        entry["name"]: entry["needed"]
        for entry in json.loads((path / PARITY).read_bytes())["outputs"]
    }
    assert 1e-4 < errors["match_text_to_image, float32"] < 1e-1
    # The two recurrent cells stay float32: TensorRT has none in bfloat16.
    assert products(path, "text_encoder")[FLOAT] == 2
    assert products(path, "match_text_to_image").keys() == {TensorProto.BFLOAT16}


@pytest.mark.full
def test_a_bfloat16_bundle_on_the_cpu_is_one_line(bundles: Bundles) -> None:
    path = bundles.path(TEXT, "--dtype", "bfloat16")
    matcher = Matcher.load(path)
    with pytest.raises(SetupError, match="bfloat16 graphs do not run on the CPU"):
        matcher.encode_texts(["a dog"])


UNGUARDED = """
import sys
from itr_deploy.bundle.store import read_bundle
from itr_deploy.parity.parity_backend import parity_backend
with parity_backend(read_bundle(sys.argv[1])) as backend:
    print("compared once", backend.description)
"""


@pytest.mark.parametrize(
    "way",
    [
        "a file",
        pytest.param("standard input", marks=pytest.mark.full),
        pytest.param("-c", marks=pytest.mark.full),
    ],
)
def test_a_script_without_a_guard_compares_once(way: str, half: Path, tmp_path: Path) -> None:
    """The gate's processes do not run the caller's script again."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = {"a file": [script], "standard input": ["-"], "-c": ["-c", UNGUARDED]}[way]
    done = subprocess.run(
        [sys.executable, *command, half],
        input=UNGUARDED if way == "standard input" else "",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("compared once")
    assert done.stdout.count("once") == 1
    assert "in its own process" in done.stdout


@pytest.mark.parametrize(("case", "told"), [(WORDS, True), (PIECES, False)], ids=["GRU", "BERT"])
def test_where_nothing_is_left_to_halve_it_is_told(
    case: GoldenCase, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = VseInftyOptions(bert_config="" if told else str(case.folder / "bert_config.json"))
    trained = family("vse_infty").load(case.checkpoint, options)
    with one_torch_thread():
        list(traced_graphs(trained, DEFAULT_OPSET, "float16"))
    assert ("dtype='float16' (--dtype) changes nothing" in caplog.text) == told


def test_a_re_ranker_over_a_bfloat16_base_is_warned_of(
    half: Path, bundles: Bundles, tmp_path: Path
) -> None:
    words = (*SMALL.words(half), "--checkpoint", "absent.pth", "--output", tmp_path / "bundle")
    assert "near ties" not in itr_deploy("export", *words).err
    base = ("--base", bundles.path(TEXT, "--dtype", "bfloat16"))
    assert "is in bfloat16, which moves near ties" in itr_deploy("export", *words, *base).err
