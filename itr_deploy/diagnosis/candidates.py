"""The backends of the self-test: building and measuring each, in a separate process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.diagnosis.checks import check_library, check_onnxruntime, check_provider
from itr_deploy.diagnosis.machine import CPU, CUDA, TENSORRT, Machine
from itr_deploy.engines.builder import BuildRequest, build_engines
from itr_deploy.engines.files import RTX_RUNS_ON, EngineTarget
from itr_deploy.runtime.backends import open_backend
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from itr_deploy.runtime.matcher import Matcher

REPEATS = 20
STORAGES: tuple[StorageType, ...] = ("float32", "float16")


@dataclass(frozen=True)
class Candidate:
    """A backend on a device.

    Attributes:
        name: Its name in the table.
        backend: The backend's name.
        device: ``"cpu"`` or ``"cuda"``.
        provider: The provider of ONNX Runtime that it uses.
        target: Target of the engines that it runs, if it is not ONNX Runtime.
    """

    name: str
    backend: str
    device: str
    provider: str | None = None
    target: EngineTarget | None = None

    def open(self, bundle: Bundle) -> Matcher:
        """The bundle's matcher on this backend.

        Raises:
            SetupError: The backend is not available after all.
            EngineError: The bundle has no engine that fits.
        """
        if self.target is not None:
            return Matcher(bundle, TensorRTBackend(bundle, library=self.target))
        return Matcher(bundle, open_backend(bundle, self.device, self.backend))

    def builds(self, machine: Machine) -> bool:
        """Whether its engines can be built on a machine, even if they cannot be run there.

        TensorRT times layers on a GPU; TensorRT for RTX needs none to build.
        """
        return self.target == "tensorrt-rtx" and check_library(machine, self.target).state == "ok"

    def absent(self, machine: Machine) -> str | None:
        """Why the backend cannot be used on a machine, None if it can."""
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


def build(bundle: str, target: EngineTarget, capability: str) -> dict[str, Any]:
    """Build a bundle's engines; the build also proves the types that their layers compute in.

    Args:
        bundle: The bundle's directory.
        target: Target of the engines.
        capability: Compute capability of the GPU, empty without one.

    Returns:
        The number of engines, and their matrix layers by type.
    """
    opened = read_bundle(Path(bundle))
    request = BuildRequest(
        target=target,
        precision=opened.manifest.precision,
        # TensorRT builds for this machine's GPU without being told.
        capabilities=(capability,) if capability and target == "tensorrt-rtx" else (),
    )
    built = build_engines(opened, request, lambda graph, phase, done, total: None)
    layers: dict[str, int] = {}
    for info in built.directory.record.engines.values():
        for kind, count in info.matrix_layers.items():
            layers[kind] = layers.get(kind, 0) + count
    return {"engines": len(built.outcomes), "matrix_layers": layers}


def measure(number: int, bundle: str, items: str, scores: str) -> dict[str, Any]:
    """Encode and score on one of `CANDIDATES`.

    Args:
        number: Its position.
        bundle: The bundle's directory.
        items: A file with the arrays of an `itr_deploy.parity.samples.Sample`, by their names.
        scores: The file for the scores of every direction and storage, named by `key`.

    Returns:
        What it ran on, and the median milliseconds of scoring all pairs over a float16 gallery.
    """
    matcher = CANDIDATES[number].open(read_bundle(bundle))
    with np.load(items) as given:
        images = matcher.encode_images(given["regions"])
        texts = matcher.encode_token_ids(given["token_ids"], given["lengths"])
    found: dict[str, NDArray[np.float32]] = {}
    for storage in STORAGES:
        stored = images.stored_as(storage), texts.stored_as(storage)
        found[key("text", storage)] = matcher.scorer.score_all(texts, stored[0])
        found[key("image", storage)] = matcher.scorer.score_all(images, stored[1])
    np.savez(Path(scores), **found)  # type: ignore[arg-type]  # numpy's stubs mistake the arrays
    gallery, seconds = images.stored_as("float16"), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        matcher.scorer.score_all(texts, gallery)
        seconds.append(time.perf_counter() - begun)
    return {"ran_on": matcher.backend.description, "milliseconds": 1000 * median(seconds)}


def key(query: Modality, storage: StorageType) -> str:
    """Name of the scores ``[queries, items]`` for a direction and a storage type."""
    return f"{query}_{storage}"
