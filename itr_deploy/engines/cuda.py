"""This machine's CUDA driver and GPUs, as the driver reports them; safe without a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NO_GPU = "CUDA_ERROR_NO_DEVICE"
NO_BINDINGS = "cuda-bindings is not installed"


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, compute capability such as ``"8.6"``, and memory in bytes."""

    name: str
    capability: str
    memory: int


@dataclass(frozen=True)
class CudaState:
    """What the CUDA driver reports.

    Attributes:
        driver: Newest CUDA version that the driver supports, such as ``"13.0"``; None without one.
        gpus: The GPUs this process may use, in the order of their numbers.
        problem: Why no GPU can be used, in words; None if one can.
        fails: Whether a driver is there but does not work, rather than no GPU.
    """

    driver: str | None
    gpus: tuple[Gpu, ...]
    problem: str | None
    fails: bool = False


def probe() -> CudaState:
    """Query the driver and GPUs without starting a CUDA context. Never raises."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return CudaState(None, (), NO_BINDINGS)
    try:
        return _ask(driver)
    except _CallError as error:
        return CudaState(None, (), str(error), error.code != NO_GPU)
    except Exception as error:  # the bindings raise if they find no driver library
        return CudaState(None, (), f"no CUDA driver: {str(error).splitlines()[0].rstrip('.')}")


class _CallError(Exception):
    """A failed call of the driver, with its code."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the CUDA driver does not start: {code}")
        self.code = code


def _ask(driver: Any) -> CudaState:
    _call(driver, driver.cuInit(0))
    version = _call(driver, driver.cuDriverGetVersion())
    text = f"{version // 1000}.{version % 1000 // 10}"
    kinds = driver.CUdevice_attribute
    major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    gpus = []
    for number in range(_call(driver, driver.cuDeviceGetCount())):
        device = _call(driver, driver.cuDeviceGet(number))
        name = _call(driver, driver.cuDeviceGetName(128, device))
        capability = [
            _call(driver, driver.cuDeviceGetAttribute(kind, device)) for kind in (major, minor)
        ]
        gpus.append(
            Gpu(
                name.split(b"\0")[0].decode(errors="replace"),
                ".".join(map(str, capability)),
                int(_call(driver, driver.cuDeviceTotalMem(device))),
            )
        )
    return CudaState(text, tuple(gpus), None if gpus else "the CUDA driver sees no GPU")


def _call(driver: Any, returned: tuple[Any, ...]) -> Any:
    """The value of a call ``(code, value)``.

    Raises:
        _CallError: The code is not success.
    """
    code, *values = returned
    if code != driver.CUresult.CUDA_SUCCESS:
        raise _CallError(code.name)
    return values[0] if values else None
