"""build-engine: a bundle's engines, built by the command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.files import check_engine_file, engine_directories
from tests.support.command import itr_deploy
from tests.support.engines import GRAPH, RTX, GraphMaker, put_graph, rewrite_manifest
from tests.support.files import largest_file, tree

pytestmark = RTX
PROGRAM = "from itr_deploy.cli.main import main; main()"
TARGET = ("--target", "tensorrt-rtx")


@pytest.fixture
def small(bundle_copy: Path) -> Path:
    """A bundle with one graph that is built in a blink."""
    return put_graph(bundle_copy, GraphMaker().linear().attention().model())


def test_a_table_tells_what_was_built_and_that_nothing_is_built_twice(small: Path) -> None:
    first = itr_deploy("build-engine", small, *TARGET)
    assert first.code == 0, first.err
    row = next(line for line in first.out.splitlines() if GRAPH in line)
    assert " float32 " in row
    assert row.rstrip().endswith("built")
    assert f"{small}/engines/tensorrt-rtx-float32-" in first.out.replace("\n", "")
    second = itr_deploy("build-engine", small, *TARGET)
    assert second.code == 0
    assert "nothing has changed, nothing was built" in second.out
    assert "up to date" in second.out
    third = itr_deploy("build-engine", small, *TARGET, "--force")
    assert "nothing has changed" not in third.out


def test_a_trained_bundle_with_every_option(bundle_copy: Path, tmp_path: Path) -> None:
    options = (
        *TARGET, "--fp32", "--graphs", "image_encoder,text_encoder", "--graphs", "image_encoder",
        "--min-shapes", "batch=2", "--opt-shapes", "batch=4,length=5", "--max-shapes", "batch=6",
        "--workspace", "1GiB", "--optimization-level", 1, "--compute-capability", "8.9, 8.6",
        "--hardware-compatibility", "same-compute-capability", "--version-compatible",
        "--timing-cache", tmp_path / "timings", "--json",
    )  # fmt: skip
    outcome = itr_deploy("build-engine", bundle_copy, *options)
    assert outcome.code == 0, outcome.err
    made = outcome.json
    assert made["directory"].endswith("tensorrt-rtx-float32-sm86+sm89")
    assert list(made["engines"]) == ["image_encoder", "text_encoder"]
    engine = made["engines"]["text_encoder"]
    assert engine["outcome"] == "built"
    fingerprint = engine["fingerprint"]
    assert fingerprint["profile"]["token_ids"] == {"min": [2, 1], "opt": [4, 5], "max": [6, 64]}
    assert fingerprint["workspace"] == 1 << 30
    assert fingerprint["optimization_level"] == 1
    assert fingerprint["hardware_compatibility"] == "same-compute-capability"
    assert fingerprint["version_compatible"]
    # TensorRT for RTX times nothing.
    assert not (tmp_path / "timings").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-shapes", "batch"), "--max-shapes batch: must be axis=size"),
        (("--max-shapes", "batch=-1"), "--max-shapes batch=-1: must be axis=size"),
        (
            ("--opt-shapes", "words=4"),
            "(--opt-shapes): no axis 'words'; the graphs have batch, reg",
        ),
        (("--min-shapes", "batch=9", "--max-shapes", "batch=4"), "axis batch: min 9, max 4;"),
        (("--workspace", "4 parsecs"), "'4 parsecs' is not a size; give for example 512MiB"),
        (("--workspace", "4GiB each"), "'4GiB each' is not a size"),
        (("--workspace", "0"), "workspace=0 must be a whole number of at least 1"),
        (("--fp16", "--bf16"), "exclude each other; give one"),
        (("--graphs", "scores"), "graphs='scores' (--graphs): no such graph"),
        (("--compute-capability", "sm86"), "compute_capability='sm86' (--compute-capability): "),
        (("--optimization-level", "6"), "should be less than or equal to 5, not '6'"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_one_line(
    small: Path, options: tuple[str, ...], said: str
) -> None:
    before = tree(small)
    outcome = itr_deploy("build-engine", small, *TARGET, *options)
    assert outcome.code == 2
    assert said in outcome.error
    assert tree(small) == before


def test_a_precision_that_the_bundle_does_not_have_ends_with_1(small: Path) -> None:
    outcome = itr_deploy("build-engine", small, *TARGET, "--fp16")
    assert outcome.code == 1
    assert outcome.error.endswith(
        "its graphs are float32; an engine has its graphs' precision: "
        "export it again with dtype='float16' (--dtype float16)"
    )


def test_fp16_without_half_layers_ends_with_4_and_leaves_no_engine(bundle_copy: Path) -> None:
    put_graph(bundle_copy, GraphMaker().linear().model(), "float16")
    # As an encoder's it could be float32 throughout.
    graph = read_bundle(bundle_copy).manifest.graphs[GRAPH].model_dump()
    rewrite_manifest(bundle_copy, graphs={GRAPH: {**graph, "role": "match_text_to_image"}})
    before = tree(bundle_copy)
    outcome = itr_deploy("build-engine", bundle_copy, *TARGET, "--fp16")
    assert outcome.code == 4
    assert "no matrix product of its engine is float16" in outcome.error
    assert tree(bundle_copy) == before


def test_a_graph_that_is_refused_ends_with_4(bundle_copy: Path) -> None:
    put_graph(bundle_copy, GraphMaker().add("Det").model())
    outcome = itr_deploy("build-engine", bundle_copy, *TARGET)
    assert outcome.code == 4
    assert f"{GRAPH}: Det Det_0: " in outcome.error
    assert "[operator]" in outcome.error


def test_a_full_disk_ends_with_1(small: Path) -> None:
    before = tree(small)
    with largest_file(1000):
        outcome = itr_deploy("build-engine", small, *TARGET)
    assert outcome.code == 1
    assert "File too large; free space or choose another place" in outcome.error
    assert tree(small) == before


def test_a_missing_library_ends_with_4_and_names_its_extra(small: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("TensorRT may be here")
    outcome = itr_deploy("build-engine", small, "--target", "tensorrt")
    assert outcome.code == 4
    assert "pip install 'itr-deploy[tensorrt]'" in outcome.error


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_keeps_the_engines_it_finished_and_goes_on_from_them(
    bundle_copy: Path, sent: signal.Signals
) -> None:
    words = ("build-engine", bundle_copy, *TARGET, "--json")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 120
    while not list(bundle_copy.glob("engines/*/engines.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(sent)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "error: interrupted; nothing half-written was left behind" in err
    assert "Traceback" not in err
    (found,) = engine_directories(read_bundle(bundle_copy))
    finished = found.record.engines.keys()
    assert 0 < len(finished) < len(read_bundle(bundle_copy).manifest.graphs)
    for graph in finished:
        check_engine_file(found, graph)
    assert {path.name for path in found.path.iterdir()} == {
        "engines.json",
        *(f"{graph}.engine" for graph in finished),
    }
    again = itr_deploy(
        "build-engine", bundle_copy, *TARGET, "--json", "--graphs", ",".join(finished)
    )
    assert {entry["outcome"] for entry in again.json["engines"].values()} == {"up to date"}
