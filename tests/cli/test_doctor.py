"""doctor: what this machine has; run as a user would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.manifest import Precision
from itr_deploy.diagnosis import selftest
from itr_deploy.diagnosis.selftest import PRECISIONS
from itr_deploy.engines.cuda import CudaState, probe
from tests.support.command import Outcome, itr_deploy, python

ERRORS = {"float32": 1e-5, "float16": 1e-2}
RUN = "import sys; from itr_deploy.cli.main import main; sys.argv[0] = 'itr-deploy'; main()"


@pytest.fixture(scope="module")
def without_gpu() -> CudaState:
    state = probe()
    if state.gpus:
        pytest.skip("this machine has a GPU")
    return state


@pytest.fixture(scope="module")
def healthy(bundle: Path) -> Outcome:
    """`doctor` on this machine, in a fresh process; last what that loaded."""
    code = f"""
import atexit, sys
heavy = {{"torch", "onnx", "onnxruntime", "tensorrt_rtx", "tensorrt"}}
atexit.register(lambda: print("loaded:", sorted(heavy & sys.modules.keys())))
{RUN}
"""
    return python(code, "doctor", bundle)


def test_a_machine_without_a_gpu_is_in_order_and_told_plainly(
    healthy: Outcome, without_gpu: CudaState, bundle: Path
) -> None:
    assert healthy.code == 0, healthy.err
    lines = healthy.out.splitlines()
    gpu = next(line for line in lines if " GPU: " in line)
    assert gpu.startswith("info     GPU: no GPU: ")
    assert gpu.endswith("; searches run on the CPU")
    assert any(line.startswith("ok       CPUExecutionProvider: loads and") for line in lines)
    assert any(line.startswith(f"ok       bundle {bundle}: imram, float32, ") for line in lines)
    assert not any(line.startswith("problem") for line in lines)


def test_nothing_heavy_is_loaded_in_its_own_process(healthy: Outcome) -> None:
    assert healthy.out.splitlines()[-1] == "loaded: []"


def test_json_has_every_check_and_the_number_of_problems(
    without_gpu: CudaState, tmp_path: Path
) -> None:
    outcome = itr_deploy("doctor", tmp_path / "none", "--json")
    assert outcome.code == 4
    assert outcome.error == "error: 1 problem found"
    report: dict[str, Any] = outcome.json
    assert report["problems"] == 1
    assert "self_test" not in report
    checks = {check["name"]: check for check in report["checks"]}
    assert all(set(check) == {"name", "state", "found", "remedy"} for check in checks.values())
    assert {check["state"] for check in checks.values()} <= {"ok", "info", "missing", "problem"}
    assert {"itr-deploy", "Python", "onnxruntime", "export half", "GPU"} <= checks.keys()
    assert {"TensorRT", "TensorRT for RTX", "cuda-bindings", "cache directory"} <= checks.keys()
    assert checks["bundle"] == {
        "name": "bundle",
        "state": "problem",
        "found": f"{tmp_path / 'none'}: no such bundle directory",
        "remedy": "make one with itr-deploy export",
    }


def test_the_self_test_without_the_export_half_names_the_extra() -> None:
    outcome = python(f"import sys; sys.modules['torch'] = None\n{RUN}", "doctor", "--self-test")
    assert outcome.code == 4
    assert outcome.error == ("error: torch is not installed; pip install 'itr-deploy[export,cpu]'")


@pytest.mark.parametrize(
    "precisions",
    [
        pytest.param(PRECISIONS[:1], id="float32", marks=pytest.mark.slow),
        pytest.param(PRECISIONS, id="all", marks=pytest.mark.full),
    ],
)
def test_the_self_test_prints_a_table_of_every_backend(
    precisions: tuple[Precision, ...], without_gpu: CudaState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "PRECISIONS", precisions)
    outcome = itr_deploy("doctor", "--self-test")
    assert outcome.code == 0, outcome.err
    table = outcome.out[outcome.out.index("self-test:") :]
    rows = [line.split() for line in table.splitlines() if line.startswith(" onnxruntime ")]
    assert len(rows) == len(precisions)
    for row, precision in zip(rows, precisions, strict=True):
        assert row[:3] == ["onnxruntime", "cpu", precision]
        assert float(row[3]) < ERRORS[precision]
        assert row[4] == "yes"
        assert float(row[5]) > 0
    for name in ("onnxruntime", "onnxruntime-tensorrt", "tensorrt"):
        assert f"missing  {name} on cuda: no GPU\n" in table
    assert table.count("missing  tensorrt-rtx on cuda: ") == len(precisions)
