"""Which backend serves a device: what is asked for, or an error that says what is missing."""

from __future__ import annotations

from itr_deploy.bundle.engines import engine_directories
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, SetupError, UsageError
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.backends.providers import CudaProvider, TensorRTProvider
from itr_deploy.runtime.cache import cache_directory
from itr_deploy.runtime.cuda import NO_BINDINGS, probe

DEVICES = ("cpu", "cuda")
BACKENDS = ("auto", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")


def open_backend(
    bundle: Bundle, device: str = "cpu", backend: str = "auto", threads: int | None = None
) -> Backend:
    """A backend over a bundle's graphs; never another one than was asked for.

    Args:
        bundle: The opened bundle.
        device: ``"cpu"`` or ``"cuda"``.
        backend: ``"onnxruntime"``; on a GPU also ``"tensorrt"``, which runs the bundle's engines,
            and ``"onnxruntime-tensorrt"``, ONNX Runtime's TensorRT provider. ``"auto"`` is
            ``"tensorrt"`` on a GPU where the bundle has engines, else ``"onnxruntime"``.
        threads: Threads that compute on the CPU; None for every core this process may use.

    Raises:
        EngineError: Engines are asked for and there are none, or their record is damaged.
        BundleError: The bundle is quantised, and the device is a GPU.
        SetupError: A library or the device is not there.
        UsageError: The backend, the device or the number of threads is none, or they do not go
            together.
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
            f"with device {device!r} open a bundle that was exported without --quantize"
        )
    if backend == "auto":
        backend = "tensorrt" if any(engine_directories(bundle)) else "onnxruntime"
    if backend == "tensorrt":
        from itr_deploy.runtime.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(bundle)
    _check_gpu()
    if backend == "onnxruntime":
        return OnnxRuntimeBackend(bundle, CudaProvider(), threads)
    return OnnxRuntimeBackend(bundle, _tensorrt_provider(bundle), threads)


def _check_gpu() -> None:
    """Say why there is no GPU before ONNX Runtime says it in its own words.

    Raises:
        SetupError: There is none. Where cuda-bindings is missing nothing can be said.
    """
    state = probe()
    if state.problem not in (None, NO_BINDINGS):
        raise SetupError(
            f"device 'cuda' needs an NVIDIA GPU: {state.problem}; see itr-deploy doctor"
        )


def _tensorrt_provider(bundle: Bundle) -> TensorRTProvider:
    from itr_deploy.runtime.profiles import Overrides, profile_of

    manifest = bundle.manifest
    cache = cache_directory("onnxruntime-tensorrt", manifest.encoding_id[:16])
    cache.mkdir(parents=True, exist_ok=True)
    profiles = {name: profile_of(manifest, name, Overrides()) for name in manifest.graphs}
    return TensorRTProvider(manifest.precision, profiles, cache)
