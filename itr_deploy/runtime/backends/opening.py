"""Opens the backend that is asked for, or raises an error that says what is missing."""

from __future__ import annotations

import hashlib
import logging

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.cuda import NO_BINDINGS, probe
from itr_deploy.engines.files import (
    EngineDirectory,
    EngineTarget,
    built_by_default,
    engine_directories,
    graph_digest,
)
from itr_deploy.engines.fit import EngineHost, check_fit
from itr_deploy.engines.library import MODULES, import_library, installed
from itr_deploy.errors import BundleError, EngineError, SetupError, UsageError
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.backends.cache import cache_directory
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.backends.providers import CudaProvider, TensorRTProvider

log = logging.getLogger(__name__)

DEVICES = ("cpu", "cuda")
BACKENDS = ("auto", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")


def open_backend(
    bundle: AnyBundle, device: str = "cpu", backend: str = "auto", threads: int | None = None
) -> Backend:
    """Open a backend over a bundle's graphs; never a different one from the one asked for.

    Args:
        bundle: The opened bundle.
        device: ``"cpu"`` or ``"cuda"``.
        backend: ``"onnxruntime"``; on a GPU also ``"tensorrt"``, which runs the bundle's engines,
            and ``"onnxruntime-tensorrt"``, ONNX Runtime's TensorRT provider. ``"auto"`` is
            ``"tensorrt"`` on a GPU for which the bundle has engines of at least every graph but
            those of int8 galleries, else ``"onnxruntime"``.
        threads: Compute threads on the CPU; None for `default_threads`.

    Raises:
        EngineError: Engines are asked for and there are none, or their record is damaged.
        BundleError: The bundle is quantised, and the device is a GPU.
        SetupError: A library or the device is missing.
        UsageError: The backend, the device or the number of threads is not valid, or they do not
            go together.
    """
    if device not in DEVICES:
        raise UsageError(f"device {device!r} is unknown; known: {', '.join(DEVICES)}")
    if backend not in BACKENDS:
        raise UsageError(f"backend {backend!r} is unknown; known: {', '.join(BACKENDS)}")
    if device == "cpu":
        if backend not in ("auto", "onnxruntime"):
            raise UsageError(f"backend {backend!r} needs a GPU; give device='cuda' with it")
        return OnnxRuntimeBackend(bundle, threads=threads)
    if bundle.manifest.quantization is not None:
        raise BundleError(
            f"{bundle.path}: its matchers are {bundle.manifest.quantization}, which is for a CPU; "
            f"with device {device!r} open a bundle that was exported without quantize= (--quantize)"
        )
    fitting = fitting_target(bundle) if backend == "auto" else None
    if backend == "tensorrt" or fitting is not None:
        from itr_deploy.runtime.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(bundle, library=fitting)
    _check_gpu()
    if backend == "onnxruntime-tensorrt":
        return OnnxRuntimeBackend(bundle, _tensorrt_provider(bundle), threads)
    return OnnxRuntimeBackend(bundle, CudaProvider(), threads)


def fitting_target(bundle: AnyBundle) -> EngineTarget | None:
    """The target whose library is installed and that has the usual engines for this GPU.

    The usual engines are those that `build-engine` makes by default.

    Raises:
        EngineError: A record of engines is damaged.
    """
    cuda, built = probe(), list(engine_directories(bundle))
    for target in MODULES:
        engines = [
            (directory, graph)
            for directory in built
            for graph, info in directory.record.engines.items()
            if info.fingerprint.target == target
        ]
        # Importing a library takes seconds.
        if cuda.gpus and engines and installed(target):
            version = import_library(target).__version__
            host = EngineHost(version, cuda.gpus[0].capability, cuda.driver)
            fit = {graph for directory, graph in engines if _fits(bundle, directory, graph, host)}
            if fit >= set(built_by_default(bundle.manifest)):
                return target
    return None


def _fits(bundle: AnyBundle, directory: EngineDirectory, graph: str, host: EngineHost) -> bool:
    try:
        check_fit(bundle, directory, graph, host)
    except EngineError as error:
        log.info("not taken by backend auto: %s", error)
        return False
    return True


def _check_gpu() -> None:
    """Report why there is no GPU, more clearly than ONNX Runtime would.

    Raises:
        SetupError: There is no GPU; never raised if cuda-bindings is missing, as nothing is known.
    """
    state = probe()
    if state.problem not in (None, NO_BINDINGS):
        raise SetupError(
            f"device 'cuda' needs an NVIDIA GPU: {state.problem}; see itr-deploy doctor"
        )


def _tensorrt_provider(bundle: AnyBundle) -> TensorRTProvider:
    from itr_deploy.engines.shapes import Overrides, profile_of

    if installed("tensorrt"):
        # Loads TensorRT's libraries, which pip puts where the provider does not look.
        import_library("tensorrt")
    manifest = bundle.manifest
    # ONNX Runtime finds an engine by names alone, even if the graph's weights have changed.
    graphs = "".join(graph_digest(bundle, name) for name in sorted(manifest.graphs))
    digest = hashlib.sha256(graphs.encode()).hexdigest()[:16]
    cache = cache_directory("onnxruntime-tensorrt", digest)
    with output_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    profiles = {name: profile_of(manifest, name, Overrides()) for name in manifest.graphs}
    return TensorRTProvider(manifest.precision, profiles, cache)
