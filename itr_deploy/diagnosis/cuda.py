"""Checks of the GPUs: the bindings, the driver, and each GPU."""

from __future__ import annotations

from collections.abc import Iterator

from itr_deploy.diagnosis.checks import Check, in_words
from itr_deploy.diagnosis.libraries import installed
from itr_deploy.diagnosis.machine import Machine


def check_cuda(machine: Machine) -> Iterator[Check]:
    """What CUDA there is; no GPU is nothing to mend."""
    bindings = installed("cuda-bindings")
    if bindings is None:
        mend = "pip install cuda-bindings"
        found = "not installed; without it nothing is known of GPUs"
        yield Check("cuda-bindings", "missing", found, mend)
        return
    yield Check("cuda-bindings", "ok", bindings)
    state = machine.cuda
    if state.fails:
        mend = "restart the machine, or install NVIDIA's driver again"
        yield Check("CUDA driver", "problem", f"{state.problem}", mend)
        return
    if state.problem is not None:
        reason = state.problem.rstrip(".")
        yield Check("GPU", "info", f"no GPU: {reason}; searches run on the CPU")
        return
    yield Check("CUDA driver", "ok", f"serves CUDA {state.driver}")
    for number, gpu in enumerate(state.gpus):
        found = f"{gpu.name}, capability {gpu.capability}, {in_words(gpu.memory)}"
        yield Check(f"GPU {number}", "ok", found)
