"""The backends that the self-test runs, those that are not there included."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.bundle.store import Bundle
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.diagnosis.onnxruntime import CPU, CUDA, TENSORRT, check_onnxruntime, check_provider
from itr_deploy.diagnosis.tensorrt import check_library
from itr_deploy.engines.files import RTX_RUNS_ON, EngineTarget
from itr_deploy.runtime.backends import open_backend
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from itr_deploy.runtime.matcher import Matcher


@dataclass(frozen=True)
class Candidate:
    """A backend on a device.

    Attributes:
        name: Its name in the table.
        backend: The backend's name.
        device: ``"cpu"`` or ``"cuda"``.
        provider: The provider of ONNX Runtime that it uses.
        target: Whose engines it runs, where it is not ONNX Runtime.
    """

    name: str
    backend: str
    device: str
    provider: str | None = None
    target: EngineTarget | None = None

    def open(self, bundle: Bundle) -> Matcher:
        """The bundle's matcher on this backend.

        Raises:
            SetupError: It is not there after all.
            EngineError: The bundle has no engine that fits.
        """
        if self.target is not None:
            return Matcher(bundle, TensorRTBackend(bundle, library=self.target))
        return Matcher(bundle, open_backend(bundle, self.device, self.backend))

    def builds(self, machine: Machine) -> bool:
        """Whether its engines can be built on a machine, though nothing may be there to run them.

        TensorRT times layers on a GPU; TensorRT for RTX needs none to build.
        """
        return self.target == "tensorrt-rtx" and check_library(machine, self.target).state == "ok"

    def absent(self, machine: Machine) -> str | None:
        """Why it cannot be used on a machine, None if it can."""
        if self.device == "cuda" and machine.no_gpu is not None:
            return "no GPU"
        if self.target == "tensorrt-rtx" and machine.cuda.gpus:
            capability = machine.cuda.gpus[0].capability
            if capability not in RTX_RUNS_ON:
                return f"TensorRT for RTX is not for GPUs of capability {capability}"
        if self.target is not None:
            checks = [check_library(machine, self.target)]
        else:
            checks = [check_onnxruntime(machine), check_provider(machine, str(self.provider))]
        return next((str(check) for check in checks if check.state != "ok"), None)


CANDIDATES = (
    Candidate("onnxruntime", "onnxruntime", "cpu", provider=CPU),
    Candidate("onnxruntime", "onnxruntime", "cuda", provider=CUDA),
    Candidate("onnxruntime-tensorrt", "onnxruntime-tensorrt", "cuda", provider=TENSORRT),
    Candidate("tensorrt", "tensorrt", "cuda", target="tensorrt"),
    Candidate("tensorrt-rtx", "tensorrt", "cuda", target="tensorrt-rtx"),
)
