from __future__ import annotations

from collections.abc import Callable

import pytest

from itr_deploy.diagnosis.machine import Machine
from itr_deploy.engines.cuda import CudaState, Gpu


@pytest.fixture
def no_gpu() -> Machine:
    """This machine, without a GPU whatever it has."""
    return with_cuda(CudaState(None, (), "no CUDA driver: none found."))


@pytest.fixture
def with_gpu() -> Callable[..., Machine]:
    """This machine with GPUs of the given capabilities."""

    def make(*capabilities: str) -> Machine:
        gpus = tuple(Gpu(f"NVIDIA Fake {c}", c, 24 << 30) for c in capabilities)
        return with_cuda(CudaState("13.0", gpus, None))

    return make


def with_cuda(state: CudaState) -> Machine:
    machine = Machine(timeout=60)
    machine.cuda = state
    return machine
