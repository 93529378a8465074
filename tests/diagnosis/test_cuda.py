from __future__ import annotations

from collections.abc import Callable

from itr_deploy.diagnosis.cuda import check_cuda
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.engines.cuda import CudaState
from tests.diagnosis.conftest import with_cuda


def test_no_gpu_is_said_plainly_and_is_nothing_to_mend(no_gpu: Machine) -> None:
    check = list(check_cuda(no_gpu))[-1]
    assert check.state == "info"
    assert check.found == "no GPU: no CUDA driver: none found; searches run on the CPU"
    assert check.mend is None


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
    assert "restart the machine" in str(check.mend)
