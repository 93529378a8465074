from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.files import ShapeRange
from itr_deploy.engines.shapes import Overrides, profile_of
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.backends.providers import CpuProvider, CudaProvider, TensorRTProvider
from tests.support.golden import FULL

PROFILES = {
    "graph": {
        "regions": ShapeRange(min=(1, 36, 64), opt=(8, 36, 64), max=(64, 36, 64)),
        "lengths": ShapeRange(min=(1,), opt=(8,), max=(64,)),
    }
}


def test_cuda_keeps_float32_products_exact_unless_told() -> None:
    [(name, options)] = CudaProvider().chain("graph")
    assert name == "CUDAExecutionProvider"
    assert options == {
        "device_id": "0",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }
    [(_, options)] = CudaProvider(device_id=1, memory_limit=1 << 30, tf32=True).chain("graph")
    assert (options["device_id"], options["use_tf32"]) == ("1", "1")
    assert options["gpu_mem_limit"] == "1073741824"


def test_tensorrt_gets_the_graphs_profile_its_types_and_a_cache(tmp_path: Path) -> None:
    provider = TensorRTProvider("float16", PROFILES, tmp_path, workspace=1 << 20)
    (name, options), (second, _) = provider.chain("graph")
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_profile_min_shapes"] == "regions:1x36x64,lengths:1"
    assert options["trt_profile_opt_shapes"] == "regions:8x36x64,lengths:8"
    assert options["trt_profile_max_shapes"] == "regions:64x36x64,lengths:64"
    assert options["trt_fp16_enable"] == "1"
    assert "trt_bf16_enable" not in options
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_max_workspace_size"] == "1048576"
    assert all(isinstance(value, str) for value in options.values())
    [(_, options), _] = TensorRTProvider("bfloat16", PROFILES, tmp_path).chain("graph")
    assert (options["trt_fp16_enable"], options["trt_bf16_enable"]) == ("0", "1")


def test_every_graph_of_a_bundle_has_a_profile_for_the_provider(
    bundle: Path, tmp_path: Path
) -> None:
    manifest = read_bundle(bundle).manifest
    profiles = {name: profile_of(manifest, name, Overrides()) for name in manifest.graphs}
    provider = TensorRTProvider(manifest.precision, profiles, tmp_path)
    for name, info in manifest.graphs.items():
        named = provider.chain(name)[0][1]["trt_profile_max_shapes"].split(",")
        assert [entry.split(":")[0] for entry in named] == [entry.name for entry in info.inputs]


class OnCpu(CpuProvider):
    """The CPU in the part of a device with memory of its own: what is bound and pinned is real."""

    device = "cuda"


class _Runtime:
    """onnxruntime, whose "cuda" memory is the host's."""

    class OrtValue:
        made = 0

        @classmethod
        def ortvalue_from_numpy(cls, array: np.ndarray, device: str, number: int) -> Any:
            assert (device, number) == ("cuda", 0)
            cls.made += 1
            return onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)


def test_a_gallery_is_copied_to_the_device_once_and_gives_the_same_hits(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = Matcher.load(bundle)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add([f"i{number}" for number in range(len(FULL.regions))], FULL.regions)
    expected = Retriever(matcher, gallery).search(list(FULL.captions), k=3)
    runtime = _Runtime()
    monkeypatch.setattr(
        "itr_deploy.runtime.backends.onnxruntime.import_onnxruntime", lambda device: runtime
    )
    own = Matcher(read_bundle(bundle), OnnxRuntimeBackend(read_bundle(bundle), OnCpu()))
    retriever = Retriever(own, gallery)
    for _ in range(2):
        found = retriever.search(list(FULL.captions), k=3)
        assert [hits.ids for hits in found] == [hits.ids for hits in expected]
        for hits, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(hits.scores, wanted.scores, atol=1e-5)
    stored = len(own.bundle.manifest.images.tensors)
    assert 0 < _Runtime.OrtValue.made <= stored + 1


def test_a_provider_that_does_not_start_is_an_error_not_a_fallback(bundle: Path) -> None:
    class Named(CpuProvider):
        name = "AzureExecutionProvider"

        def chain(self, graph: str) -> list[tuple[str, dict[str, str]]]:
            return [("CPUExecutionProvider", {})]

    if Named.name not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime lists no second provider")
    backend = OnnxRuntimeBackend(read_bundle(bundle), Named())
    with pytest.raises(SetupError, match=r"AzureExecutionProvider did not start for .*; it has"):
        backend.run("image_encoder", {"regions": FULL.regions})
