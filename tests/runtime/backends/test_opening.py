"""Which backend serves a device, on a machine without a GPU and on one that appears to have one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itr_deploy import Retriever
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.engines.builder import BuildRequest, build_engines
from itr_deploy.engines.cuda import NO_BINDINGS, CudaState, Gpu, probe
from itr_deploy.errors import EngineError, SetupError, UsageError
from itr_deploy.runtime.backends import OnnxRuntimeBackend, open_backend
from itr_deploy.runtime.backends import opening as opening_module
from tests.support.command import itr_deploy
from tests.support.engines import rewrite_manifest

NO_GPU = pytest.mark.skipif(probe().problem is None, reason="this machine has a GPU")
GPU = CudaState("13.0", (Gpu("a GPU", "8.6", 1 << 30),), None)


@pytest.fixture
def opened(bundle: Path) -> Bundle:
    return read_bundle(bundle)


@pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
def test_the_cpu_is_served_by_onnxruntime(opened: Bundle, backend: str) -> None:
    found = open_backend(opened, "cpu", backend, threads=1)
    assert isinstance(found, OnnxRuntimeBackend)
    assert found.device == "cpu"


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-tensorrt"])
def test_what_needs_a_gpu_is_wrong_usage_on_the_cpu(opened: Bundle, backend: str) -> None:
    with pytest.raises(UsageError, match=f"backend '{backend}' needs a GPU; give device='cuda'"):
        open_backend(opened, "cpu", backend)


def test_unknown_names_are_wrong_usage_and_the_known_ones_are_told(opened: Bundle) -> None:
    with pytest.raises(UsageError, match="device 'gpu' is unknown; known: cpu, cuda"):
        open_backend(opened, "gpu")
    with pytest.raises(UsageError, match="backend 'trt' is unknown; known: auto, onnxruntime, "):
        open_backend(opened, "cpu", "trt")


@NO_GPU
@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "onnxruntime-tensorrt"])
def test_without_a_gpu_asking_for_one_is_an_error_of_one_line(bundle: Path, backend: str) -> None:
    with pytest.raises(SetupError, match="device 'cuda' needs an NVIDIA GPU") as caught:
        Retriever.load(bundle, gallery="nowhere", device="cuda", backend=backend)
    assert caught.value.exit_code == 4
    assert "itr-deploy doctor" in str(caught.value)
    assert "\n" not in str(caught.value)


@NO_GPU
@pytest.mark.parametrize(
    "verb",
    [
        ("search", "a dog", "--gallery", "gallery"),
        ("index", "--data", "data", "--output", "gallery"),
        ("evaluate", "--data", "data"),
        ("tune", "--data", "data"),
    ],
    ids=lambda verb: verb[0],
)
def test_every_verb_that_runs_a_bundle_ends_with_exit_code_4(
    verb: tuple[str, ...], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = itr_deploy(verb[0], bundle, *verb[1:], "--device", "cuda")
    assert outcome.code == 4
    assert "device 'cuda' needs an NVIDIA GPU" in outcome.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", [GPU, CudaState(None, (), NO_BINDINGS)], ids=["gpu", "unknown"])
def test_a_build_of_onnxruntime_for_the_cpu_alone_is_told(
    opened: Bundle, state: CudaState, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(opening_module, "probe", lambda: state)
    with pytest.raises(SetupError, match=r"this onnxruntime has .*CPUExecutionProvider") as caught:
        open_backend(opened, "cuda")
    assert "pip install 'itr-deploy[gpu]'" in str(caught.value)


def test_engines_that_are_asked_for_and_not_there_are_told_with_the_command(
    opened: Bundle,
) -> None:
    with pytest.raises(EngineError, match=r"has no engines; build them with itr-deploy build-eng"):
        open_backend(opened, "cuda", "tensorrt")


def test_auto_takes_engines_only_where_all_usual_ones_are_there_for_this_gpu(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    graphs = json.loads((bundle_copy / "manifest.json").read_bytes())["graphs"]
    few = ("image_encoder", "text_encoder", "match_text_to_image_int8")
    opened = read_bundle(rewrite_manifest(bundle_copy, graphs={name: graphs[name] for name in few}))
    assert opening_module.fitting_target(opened) is None
    monkeypatch.setattr(opening_module, "probe", lambda: GPU)
    assert opening_module.fitting_target(opened) is None
    build_engines(opened, BuildRequest("tensorrt-rtx", graphs=few[1:2]), lambda *_: None)
    assert opening_module.fitting_target(opened) is None
    build_engines(opened, BuildRequest("tensorrt-rtx"), lambda *_: None)
    assert opening_module.fitting_target(opened) == "tensorrt-rtx"
    other = CudaState("13.0", (Gpu("another", "9.0", 1 << 30),), None)
    monkeypatch.setattr(opening_module, "probe", lambda: other)
    assert opening_module.fitting_target(opened) is None
    monkeypatch.setattr(opening_module, "probe", lambda: GPU)
    monkeypatch.setattr(trt, "__version__", "1.8.0")
    assert opening_module.fitting_target(opened) is None
