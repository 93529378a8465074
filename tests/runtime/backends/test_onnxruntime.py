from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.errors import BundleError, SetupError, UsageError
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.backends.sessions import open_session
from tests.support.command import python
from tests.support.items import images


def test_the_backend_says_what_it_runs_on(matcher: Matcher) -> None:
    description = matcher.backend.description
    assert description.startswith("onnxruntime ")
    assert "CPUExecutionProvider" in description
    assert "threads" in description


def test_the_threads_are_each_loads_own(bundle: Path) -> None:
    """And leave other ONNX Runtime sessions of the process alone."""
    own = onnxruntime.SessionOptions()
    other = open_session(bundle / "graphs" / "image_encoder.onnx", own)
    for threads in (1, 3):
        backend = Matcher.load(bundle, threads=threads).backend
        assert f"{threads} threads" in backend.description
        assert backend.workers == threads
    assert other.get_inputs()


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_a_number_of_threads_that_is_none_is_wrong_usage(threads: float, bundle: Path) -> None:
    with pytest.raises(UsageError, match=f"threads={threads} must be a whole number"):
        Matcher.load(bundle, threads=threads)  # type: ignore[arg-type]


def test_calls_on_any_number_of_threads_give_the_same_scores_in_order(bundle: Path) -> None:
    rng = np.random.default_rng(0)
    regions = rng.standard_normal((40, 5, 32), dtype=np.float32)
    ids = rng.integers(1, 40, size=(9, 6))
    found = []
    for threads in (1, 4):
        matcher = Matcher.load(bundle, threads=threads, memory_budget=64 << 10)
        images = matcher.encode_images(regions)
        texts = matcher.encode_token_ids(ids, [6] * 9)
        found.append(matcher.score(texts=texts, images=images))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_a_call_that_fails_ends_the_others_and_is_told(matcher: Matcher) -> None:
    calls = [("match_text_to_image", {}) for _ in range(9)]
    with pytest.raises(Exception, match="candidates"):
        list(matcher.backend.run_all(calls))


def test_a_graph_that_onnxruntime_refuses_is_one_clear_error(bundle_copy: Path) -> None:
    (bundle_copy / "graphs" / "image_encoder.onnx").write_bytes(b"no graph")
    content = json.loads((bundle_copy / "manifest.json").read_bytes())
    del content["checksum"]
    content["files"] = {name: info.model_dump() for name, info in list_files(bundle_copy).items()}
    write_manifest(bundle_copy, Manifest.model_validate_json(json.dumps(content)))
    matcher = Matcher.load(bundle_copy)
    with pytest.raises(SetupError) as caught:
        matcher.encode_images([[[1.0] * 32]])
    assert "image_encoder.onnx: cannot be loaded by onnxruntime" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_onnxruntime_the_error_names_the_command_that_installs_it(bundle: Path) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None
from itr_deploy import Matcher
from itr_deploy.errors import SetupError
try:
    Matcher.load(sys.argv[1])
except SetupError as error:
    print(error)
"""
    outcome = python(code, bundle)
    assert "pip install 'itr-deploy[cpu]'" in outcome.out, outcome.err


def test_profiles_are_written_of_the_graphs_that_ran(bundle: Path, tmp_path: Path) -> None:
    backend = OnnxRuntimeBackend(read_bundle(bundle))
    backend.profile_into(tmp_path)
    backend.run("image_encoder", {"regions": images(1)})
    profiles = backend.end_profiles()
    assert list(profiles) == ["image_encoder"]
    assert profiles["image_encoder"].parent == tmp_path
    events = json.loads(profiles["image_encoder"].read_bytes())
    assert any(event["name"].endswith("_kernel_time") for event in events)


@pytest.mark.parametrize(
    "inputs",
    [
        {"regions": np.ones((1, 5, 7), np.float32)},
        {"regions": np.ones((1, 5, 32), np.float64)},
        {"regions": np.ones((5, 32), np.float32)},
        {"others": np.ones((1, 5, 32), np.float32)},
        {"regions": np.array([[["a"]]], object)},
    ],
    ids=["width", "type", "rank", "name", "objects"],
)
def test_a_graph_that_does_not_take_its_inputs_is_an_error_of_the_bundle(
    inputs: dict[str, np.ndarray], bundle: Path
) -> None:
    with pytest.raises(BundleError, match="graph image_encoder does not run on") as caught:
        OnnxRuntimeBackend(read_bundle(bundle)).run("image_encoder", inputs)
    assert "\n" not in str(caught.value)
