"""The checks of a machine; fake libraries are loaded in the same way as real ones."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from itr_deploy.diagnosis import checks
from itr_deploy.diagnosis.checks import (
    check_cache,
    check_cuda,
    check_export_half,
    check_itr_deploy,
    check_library,
    check_onnxruntime,
    check_provider,
    check_python,
)
from itr_deploy.diagnosis.machine import CPU, CUDA, TENSORRT, Machine
from itr_deploy.engines.cuda import CudaState
from itr_deploy.runtime.backends.cache import VARIABLE
from tests.diagnosis.conftest import with_cuda
from tests.support.command import python
from tests.support.packages import (
    fake_distribution,
    fake_module,
    fake_onnxruntime,
    site_without,
)

ROOT = Path(__file__).resolve().parents[2]
SILENT = """
            print("\\x1b[1;31m2026 [E:onnxruntime:Default, bridge.cc:7 Get()] a.cc:9 Get() "
                  "[ONNXRuntimeError] : 1 : FAIL : Failed to load libcudnn.so.9\\x1b[m",
                  "more", sep="\\n", file=sys.stderr)
            self.providers = ["CPUExecutionProvider"]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is looked at before this environment's packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_build_that_is_installed_is_named_and_computes() -> None:
    machine = Machine()
    check = check_onnxruntime(machine)
    assert check.state == "ok"
    assert check.found.startswith("onnxruntime")
    assert check_provider(machine, CPU).state == "ok"


def test_two_builds_at_once_are_a_problem(site: Path) -> None:
    fake_distribution(site, "onnxruntime", "1.31.1", "onnxruntime")
    fake_distribution(site, "onnxruntime-gpu", "1.30.0", "onnxruntime")
    check = check_onnxruntime(Machine())
    assert check.state == "problem"
    assert check.found.startswith("onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0 are installed")
    assert str(check.remedy).startswith(
        "pip uninstall onnxruntime onnxruntime-gpu, then pip install"
    )


def test_of_builds_in_two_directories_the_first_on_the_path_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in (("below", "onnxruntime"), ("above", "onnxruntime-gpu")):
        fake_distribution(tmp_path / place, name, "1.31.1", "onnxruntime")
        fake_onnxruntime(tmp_path / place)
        monkeypatch.syspath_prepend(tmp_path / place)
    check = check_onnxruntime(Machine())
    assert (check.state, check.found) == ("ok", "onnxruntime-gpu 1.31.1")


def test_no_onnxruntime_is_a_problem(tmp_path: Path) -> None:
    packages = site_without(tmp_path / "site", "onnxruntime")
    stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    places = [str(ROOT), str(packages), *stdlib, *(p for p in sys.path if "lib-dynload" in p)]
    code = """
import os, sys
sys.path[:] = sys.argv[1].split(os.pathsep)
from itr_deploy.cli.main import main
sys.argv[1:] = ["doctor", "--json"]
main()
"""
    outcome = python(code, os.pathsep.join(places))
    assert outcome.code == 4, outcome.err
    found = {check["name"]: check for check in outcome.json["checks"]}
    assert found["onnxruntime"]["state"] == "problem"
    assert found["onnxruntime"]["found"] == "not installed"
    assert found["onnxruntime"]["remedy"].startswith("pip install 'itr-deploy[cpu]'")
    assert CPU not in found
    assert outcome.error == "error: 1 problem found"


def test_an_onnxruntime_that_cannot_be_imported_is_a_problem(site: Path) -> None:
    fake_module(site, "onnxruntime", "raise ImportError('libonnxruntime.so: no such file')")
    check = check_onnxruntime(Machine())
    assert check.state == "problem"
    assert check.found == "does not load: ImportError: libonnxruntime.so: no such file"


@pytest.mark.parametrize(
    ("starting", "said"),
    [
        ("raise RuntimeError('no kernel image')", "RuntimeError: no kernel image"),
        ("os.abort()", "the process crashed: SIGABRT"),
        ("os._exit(7)", "the process ended with exit code 7 and without an answer"),
        ("time.sleep(99)", "no answer within 4 s"),
        (SILENT, "Failed to load libcudnn.so.9"),
    ],
    ids=["raises", "crashes", "leaves", "hangs", "computes on the CPU instead"],
)
def test_a_listed_provider_that_does_not_load_is_a_problem(
    starting: str, said: str, site: Path, with_gpu: Callable[..., Machine]
) -> None:
    fake_onnxruntime(site, starting=starting, listed=(CUDA,))
    machine = with_gpu("8.6")
    if "sleep" in starting:
        machine.timeout = 4
    check = check_provider(machine, CUDA)
    assert (check.state, check.found) == ("problem", f"does not load: {said}")
    assert "onnxruntime-gpu[cuda,cudnn]" in str(check.remedy)


def test_a_provider_that_computes_wrong_values_is_a_problem(
    site: Path, with_gpu: Callable[..., Machine]
) -> None:
    fake_onnxruntime(site, listed=(CUDA,), factor=3)
    check = check_provider(with_gpu("8.6"), CUDA)
    assert check.state == "problem"
    assert "wrong values: [1.5, -3.0, 6.0, 9.75] instead of [1.0, -2.0, 4.0, 6.5]" in check.found


def test_a_provider_that_loads_is_ok(site: Path, with_gpu: Callable[..., Machine]) -> None:
    fake_onnxruntime(site, listed=(CUDA,))
    assert check_provider(with_gpu("8.6"), CUDA).state == "ok"


def test_without_a_gpu_nothing_is_wrong_with_the_providers_for_gpus(
    site: Path, no_gpu: Machine
) -> None:
    fake_onnxruntime(site, starting=SILENT, listed=(CUDA, TENSORRT))
    for provider in (CUDA, TENSORRT):
        check = check_provider(no_gpu, provider)
        assert check.state == "info"
        assert check.found == "has no GPU to run on: Failed to load libcudnn.so.9"


def test_a_build_without_the_providers_is_told_where_there_is_a_gpu(
    site: Path, with_gpu: Callable[..., Machine], no_gpu: Machine
) -> None:
    fake_onnxruntime(site)
    check = check_provider(with_gpu("8.6"), CUDA)
    assert check.state == "missing"
    assert "itr-deploy[gpu]" in str(check.remedy)
    check = check_provider(no_gpu, CUDA)
    assert (check.state, check.remedy) == ("info", None)


@pytest.mark.parametrize(
    ("version", "state", "said"),
    [
        (None, "missing", "without the libraries of TensorRT 10"),
        ("11.4.0.1", "missing", "the libraries of TensorRT 10, which TensorRT 11.4.0.1 is not"),
        ("10.13.0.35", "problem", "does not load: Failed to load libcudnn.so.9"),
    ],
)
def test_the_tensorrt_provider_needs_tensorrt_10(
    version: str | None, state: str, said: str, site: Path, with_gpu: Callable[..., Machine]
) -> None:
    fake_onnxruntime(site, starting=SILENT, listed=(TENSORRT,))
    if version is not None:
        fake_distribution(site, "tensorrt", version, "tensorrt")
    check = check_provider(with_gpu("8.6"), TENSORRT)
    assert check.state == state
    assert said in check.found
    assert check.remedy


def test_this_python_is_supported() -> None:
    assert check_itr_deploy().state == "ok"
    check = check_python()
    assert check.state == "ok"
    assert " on " in check.found


def test_an_old_python_is_a_problem() -> None:
    check = check_python((3, 9, 2))
    assert check.state == "problem"
    assert check.found.startswith("3.9.2 on ")
    assert check.remedy == "install Python 3.10 or newer"


def test_a_machine_without_the_export_half_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_export_half().state == "ok"
    monkeypatch.setattr(checks, "EXPORT_HALF", ("numpy", "nothing-like-it"))
    check = check_export_half()
    assert check.state == "info"
    assert check.found == "nothing-like-it not installed (only needed to export)"
    assert "pip install 'itr-deploy[export]'" in str(check.remedy)


@pytest.mark.skipif(sys.platform != "linux", reason="tensorrt-rtx has wheels for x86-64 only")
def test_the_installed_library_is_imported_and_named() -> None:
    check = check_library(Machine(), "tensorrt-rtx")
    assert (check.state, check.found) == ("ok", version("tensorrt-rtx"))


def test_a_tensorrt_is_imported_to_see_that_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake_module(tmp_path / "good", "tensorrt", "__version__ = '10.9'"))
    check = check_library(Machine(), "tensorrt")
    assert (check.state, check.found) == ("ok", "10.9")
    monkeypatch.syspath_prepend(
        fake_module(tmp_path / "bad", "tensorrt", "import os; os.kill(os.getpid(), 11)")
    )
    check = check_library(Machine(), "tensorrt")
    assert check.state == "problem"
    assert check.found == "does not load: the process crashed: SIGSEGV"
    assert check.remedy == "pip uninstall tensorrt, then pip install 'itr-deploy[tensorrt]'"


def test_no_gpu_is_said_plainly_and_has_no_remedy(no_gpu: Machine) -> None:
    check = list(check_cuda(no_gpu))[-1]
    assert check.state == "info"
    assert check.found == "no GPU: no CUDA driver: none found; searches run on the CPU"
    assert check.remedy is None


def test_gpus_are_listed_with_the_version_that_the_driver_serves(
    with_gpu: Callable[..., Machine],
) -> None:
    bindings, driver, first, second = check_cuda(with_gpu("8.6", "9.0"))
    assert bindings.name == "cuda-bindings"
    assert driver.found == "serves CUDA 13.0"
    assert first.found == "NVIDIA Fake 8.6, capability 8.6, 24.0 GiB"
    assert (second.name, second.state) == ("GPU 1", "ok")


def test_a_driver_that_fails_is_a_problem() -> None:
    state = CudaState(None, (), "the CUDA driver does not start: CUDA_ERROR_UNKNOWN", fails=True)
    check = list(check_cuda(with_cuda(state)))[-1]
    assert check.state == "problem"
    assert "CUDA_ERROR_UNKNOWN" in check.found
    assert "restart the machine" in str(check.remedy)


def test_the_cache_directory_is_shown_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "a.timing").write_bytes(bytes(3 << 20))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    check = check_cache()
    assert (check.state, check.found) == ("ok", f"{tmp_path}, 3.0 MiB")


def test_a_cache_directory_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a" / "b"))
    check = check_cache()
    assert (check.state, check.found) == ("ok", f"{tmp_path / 'a' / 'b'}, 0 bytes")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_directory_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    check = check_cache()
    assert check.state == "problem"
    assert check.found.endswith("file/cache cannot be written: Not a directory")
    assert str(check.remedy).startswith("set ITR_DEPLOY_CACHE")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system without files")
def test_a_cache_directory_on_a_file_system_that_refuses_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "/proc/self/cache")
    check = check_cache()
    assert check.state == "problem"
    assert "/proc/self/cache cannot be written" in check.found


def test_the_cpu_line_tells_cores_quota_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "allowed_cores", lambda: 8)
    monkeypatch.setattr(checks, "cpu_quota", lambda: 1.5)
    monkeypatch.setenv("ITR_DEPLOY_THREADS", "3")
    found = checks.check_cpus()
    assert (found.state, found.found) == (
        "ok",
        "8 cores by affinity, a quota of 1.5; 3 threads by default (ITR_DEPLOY_THREADS=3)",
    )
    monkeypatch.setenv("ITR_DEPLOY_THREADS", "many")
    found = checks.check_cpus()
    assert (found.state, found.remedy) == ("problem", "unset it")


def test_the_telemetry_line_tells_whose_decision_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_TELEMETRY_DISABLED", raising=False)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    assert checks.check_telemetry().state == "ok"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    found = checks.check_telemetry()
    assert (found.state, found.remedy) == ("info", "unset ORT_DISABLE_TELEMETRY to have it off")
