"""What the backend reports if something is missing, does not fit or fails; what it frees."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.store import read_bundle
from itr_deploy.errors import EngineError, InputError, SetupError, UsageError
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from tests.support.command import python
from tests.support.fake_cuda import FakeGpu
from tests.support.fake_engines import write_engines
from tests.support.items import images, texts

Start = Callable[..., tuple[TensorRTBackend, FakeGpu]]

REGIONS = {"regions": images(2)}


@pytest.fixture
def without_engines(install: Callable[..., FakeGpu], bundle_copy: Path) -> Path:
    install("11.4")
    return bundle_copy


def message(kind: type[Exception], work: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_says_what_it_runs_on(start: Start) -> None:
    backend, _ = start("10.3")
    assert backend.device == "cuda"
    assert backend.description == "tensorrt 10.3.0, Fake GPU (8.6)"


def test_the_target_is_that_of_the_engines_and_of_the_installed_library(
    start: Start, bundle_copy: Path
) -> None:
    write_engines(bundle_copy, "11.4")
    backend, _ = start("rtx-1.7")
    assert backend.description.startswith("tensorrt-rtx 1.7.0")


def test_a_bundle_without_engines_names_the_command(without_engines: Path) -> None:
    said = message(EngineError, lambda: TensorRTBackend(read_bundle(without_engines)))
    assert f"has no engines; build them with itr-deploy build-engine {without_engines}" in said


def test_a_library_that_is_not_installed_names_the_package(start: Start, bundle_copy: Path) -> None:
    start("11.4")
    bundle = read_bundle(bundle_copy)
    said = message(SetupError, lambda: TensorRTBackend(bundle, library="tensorrt-rtx"))
    assert "tensorrt_rtx is not installed; pip install 'itr-deploy[tensorrt-rtx]'" in said


@pytest.mark.parametrize("workers", [0, 1.5])
def test_a_number_of_workers_that_is_none_is_wrong_usage(
    workers: Any, without_engines: Path
) -> None:
    with pytest.raises(UsageError, match=f"workers={workers} must be a whole number"):
        TensorRTBackend(read_bundle(without_engines), workers=workers)


def test_a_graph_without_an_engine_names_the_command(start: Start) -> None:
    backend, _ = start(graphs=["image_encoder"])
    backend.run("image_encoder", REGIONS)
    said = message(EngineError, lambda: backend.run("text_encoder", {}))
    assert "no engine of text_encoder for tensorrt" in said
    assert "--target tensorrt --graphs text_encoder" in said


def test_an_engine_for_another_gpu_is_refused(start: Start) -> None:
    backend, _ = start(gpu=FakeGpu(capability=(9, 0)))
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "8.6" in said
    assert "9.0" in said
    assert "itr-deploy build-engine" in said


def test_an_engine_of_another_version_is_refused(
    install: Callable[..., FakeGpu], bundle_copy: Path
) -> None:
    install("11.4")
    write_engines(bundle_copy, "11.0")
    backend = TensorRTBackend(read_bundle(bundle_copy))
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "11.0.0" in said
    assert "11.4.0" in said


def test_a_version_compatible_engine_holds_code_that_runs_where_the_user_lets_it(
    install: Callable[..., FakeGpu], bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("11.4")
    write_engines(bundle_copy, "11.0", plan={"lean": True})
    backend = TensorRTBackend(read_bundle(bundle_copy))
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "it holds code that would run here; set ITR_DEPLOY_ALLOW_ENGINE_CODE=1" in said
    assert said.endswith("--target tensorrt --graphs image_encoder")
    monkeypatch.setenv("ITR_DEPLOY_ALLOW_ENGINE_CODE", "1")
    assert backend.run("image_encoder", REGIONS)["image_embedding"].shape[0] == 2


def test_a_damaged_engine_is_refused(start: Start, bundle_copy: Path) -> None:
    backend, _ = start()
    next(bundle_copy.glob("engines/*/image_encoder.engine")).write_bytes(b"damaged")
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "does not match its checksum" in said


def test_of_several_engines_the_one_that_fits_is_taken(start: Start, bundle_copy: Path) -> None:
    write_engines(bundle_copy, "11.4", capability="12.0")
    backend, _ = start()
    assert backend.run("image_encoder", REGIONS)["image_embedding"].shape[0] == 2


def test_an_engine_that_the_library_does_not_load_tells_its_words(start: Start) -> None:
    backend, gpu = start(plan={"version": "1.0"})
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "does not load it: deserialization failed: The engine plan file" in said
    assert "itr-deploy build-engine" in said
    backend.close()
    gpu.assert_clean()


def test_a_shape_outside_the_profile_names_input_shape_range_and_option(start: Start) -> None:
    backend, gpu = start(sizes={"regions": 4})
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "regions has shape [2, 5, 32]; the engine takes [1, 1, 32] to [64, 4, 32]" in said
    assert said.endswith("--target tensorrt --graphs image_encoder --max-shapes regions=5")
    assert backend.run("image_encoder", {"regions": images(2, 4)})
    backend.close()
    gpu.assert_clean()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "image_encoder: its input regions is missing"),
        (
            {"regions": images(2).astype(np.float64)},
            "regions is float64 [2, 5, 32]; expected float32 [batch, regions, 32]",
        ),
        (
            {"regions": images(2)[:, :, :31]},
            "regions is float32 [2, 5, 31]; expected float32 [batch, regions, 32]",
        ),
        (
            {"regions": images(2)[0]},
            "regions is float32 [5, 32]; expected float32 [batch, regions, 32]",
        ),
    ],
)
def test_inputs_that_are_missing_or_of_another_type_are_told(
    inputs: dict[str, np.ndarray], said: str, start: Start
) -> None:
    backend, _ = start()
    assert said in message(InputError, lambda: backend.run("image_encoder", inputs))


def test_an_engine_that_fails_tells_the_librarys_words_and_leaves_nothing(start: Start) -> None:
    backend, gpu = start(plan={"fails": True})
    said = message(EngineError, lambda: backend.run("image_encoder", REGIONS))
    assert "the engine failed: Error Code 1: a kernel failed" in said
    backend.close()
    gpu.assert_clean()


def test_a_gpu_without_memory_is_told_and_nothing_is_left(start: Start) -> None:
    backend, gpu = start(gpu=FakeGpu(memory=2000))
    said = message(SetupError, lambda: backend.run("image_encoder", REGIONS))
    assert "the GPU has no 0.0 MB of memory left" in said
    backend.close()
    gpu.assert_clean()


def test_idle_buffers_make_room_for_a_gallery(start: Start, matcher: Matcher) -> None:
    backend, gpu = start(gpu=FakeGpu(memory=1 << 20))
    backend.run("image_encoder", {"regions": images(64)})
    kept = np.ones((1 << 20) - 5000, np.uint8)
    backend.pin([kept])
    assert gpu.used == kept.nbytes
    del kept
    assert gpu.used == 0


def test_the_same_call_again_allocates_nothing(start: Start) -> None:
    backend, gpu = start()
    first = backend.run("image_encoder", REGIONS)
    before = gpu.allocations
    for _ in range(3):
        again = backend.run("image_encoder", REGIONS)
    assert gpu.allocations == before
    np.testing.assert_array_equal(first["image_embedding"], again["image_embedding"])


def test_calls_of_the_same_shapes_become_one_launch(start: Start) -> None:
    backend, gpu = start(cuda_graphs=True)
    given = [images(2, seed=seed) for seed in range(6)]
    others = [images(3, seed=seed) for seed in range(3)]
    found = [backend.run("image_encoder", {"regions": r}) for r in (*given, *others)]
    assert gpu.launches == 5 + 2
    assert len(gpu.graphs) == 1
    plain, _ = start()
    for regions, outputs in zip((*given, *others), found, strict=True):
        wanted = plain.run("image_encoder", {"regions": regions})["image_embedding"]
        np.testing.assert_array_equal(outputs["image_embedding"], wanted)
    backend.close()
    gpu.assert_clean()


@pytest.mark.parametrize("failing", [True, False])
def test_an_engine_that_cannot_be_captured_runs_as_before(failing: bool, start: Start) -> None:
    backend, gpu = start(cuda_graphs=True)
    gpu.no_capture = failing
    for _ in range(4):
        backend.run("image_encoder", REGIONS)
    assert (gpu.launches == 0) is failing
    backend.close()
    gpu.assert_clean()


def test_the_workers_of_an_engine_are_no_more_than_asked_for(start: Start) -> None:
    backend, gpu = start(workers=3)
    ids, lengths = texts([4, 4])
    calls = [("text_encoder", {"token_ids": ids, "text_lengths": lengths})] * 30
    assert len(list(backend.run_all(calls))) == 30
    assert 1 <= len(gpu.streams) <= 3
    backend.close()
    gpu.assert_clean()


def test_a_call_that_fails_ends_the_others(start: Start) -> None:
    backend, gpu = start(workers=2)

    def calls() -> Iterator[Any]:
        yield "image_encoder", REGIONS
        yield "image_encoder", {}
        yield from [("image_encoder", REGIONS)] * 20

    with pytest.raises(InputError):
        list(backend.run_all(calls()))
    backend.close()
    gpu.assert_clean()


def test_arrays_with_holes_are_copied_whole(start: Start) -> None:
    backend, _ = start()
    wide = images(6)
    backend.pin([wide[::2]])
    found = backend.run("image_encoder", {"regions": wide[::2]})
    wanted = backend.run("image_encoder", {"regions": np.ascontiguousarray(wide[::2])})
    np.testing.assert_array_equal(found["image_embedding"], wanted["image_embedding"])


def test_an_axis_that_no_input_has_is_without_limit(start: Start) -> None:
    backend, _ = start(sizes={"queries": 7})
    assert backend.max_size("match_text_to_image", "queries") == 7
    assert backend.max_size("match_text_to_image", "batch") is None


def test_a_closed_backend_runs_nothing(start: Start) -> None:
    backend, _ = start()
    backend.close()
    backend.close()
    with pytest.raises(UsageError, match="the backend is closed"):
        backend.run("image_encoder", REGIONS)


def test_a_backend_that_is_forgotten_frees_everything(start: Start) -> None:
    backend, gpu = start()
    backend.run("image_encoder", REGIONS)
    kept = images(3)
    backend.pin([kept])
    del backend
    gc.collect()
    gpu.assert_clean()
    del kept


def test_without_a_driver_the_real_bindings_give_one_clear_line(bundle_copy: Path) -> None:
    pytest.importorskip("cuda.bindings.driver")
    pytest.importorskip("tensorrt_rtx")
    write_engines(bundle_copy, "rtx-1.7")
    code = """
import sys
from itr_deploy.bundle.store import read_bundle
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from itr_deploy.engines.cuda import probe
if probe().problem is None:
    print("there is a GPU")
    raise SystemExit
try:
    TensorRTBackend(read_bundle(sys.argv[1]))
except SetupError as error:
    print(error)
"""
    outcome = python(code, bundle_copy)
    if outcome.out == "there is a GPU\n":
        pytest.skip("there is a GPU")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("no GPU for tensorrt-rtx: no CUDA driver")
    assert outcome.out.endswith("see itr-deploy doctor\n")
    assert outcome.out.count("\n") == 1


def test_without_the_bindings_the_line_names_them(
    start: Start, bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    for name in ("cuda", "cuda.bindings", "cuda.bindings.driver", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    said = message(SetupError, lambda: TensorRTBackend(read_bundle(bundle_copy)))
    assert "cuda-bindings is not installed" in said
