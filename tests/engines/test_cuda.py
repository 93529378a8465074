"""What the driver reports, with the real bindings, on machines with and without a driver."""

from __future__ import annotations

from typing import Any

import pytest

from itr_deploy.engines.cuda import probe

driver: Any = pytest.importorskip("cuda.bindings.driver")


def answer(monkeypatch: pytest.MonkeyPatch, name: str, *values: object) -> None:
    monkeypatch.setattr(driver, name, lambda *_: (driver.CUresult.CUDA_SUCCESS, *values))


@pytest.mark.parametrize(
    ("code", "fails"),
    [("CUDA_ERROR_NO_DEVICE", False), ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", True)],
)
def test_a_driver_that_fails_is_told_from_one_without_a_gpu(
    code: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "cuInit", lambda flags: (getattr(driver.CUresult, code),))
    state = probe()
    assert state.problem == f"the CUDA driver does not start: {code}"
    assert state.fails == fails
    assert state.gpus == ()


def test_gpus_are_told_with_capability_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "cuInit")
    answer(monkeypatch, "cuDriverGetVersion", 13010)
    answer(monkeypatch, "cuDeviceGetCount", 1)
    answer(monkeypatch, "cuDeviceGet", 0)
    answer(monkeypatch, "cuDeviceGetName", b"NVIDIA Fake\0\0")
    answer(monkeypatch, "cuDeviceGetAttribute", 9)
    answer(monkeypatch, "cuDeviceTotalMem", 24 << 30)
    state = probe()
    assert (state.driver, state.problem, state.fails) == ("13.1", None, False)
    (gpu,) = state.gpus
    assert (gpu.name, gpu.capability, gpu.memory) == ("NVIDIA Fake", "9.9", 24 << 30)
