"""The backend of the gate: ONNX Runtime, with the effects of half precision emulated."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itr_deploy.bundle.store import AnyBundle, read_any_bundle
from itr_deploy.parity.emulated import write_emulated
from itr_deploy.runtime.backends import Backend, OnnxRuntimeBackend
from itr_deploy.runtime.backends.isolated import IsolatedBackend


@contextmanager
def parity_backend(bundle: AnyBundle) -> Iterator[Backend]:
    """A backend on the CPU; a half-precision bundle runs with its rounding emulated.

    A float16 bundle is also loaded unchanged, in a separate process: ONNX Runtime can crash on such
    graphs, and then the bundle would be unusable on a CPU.

    Raises:
        SetupError: onnxruntime is not installed, or refuses a graph.
    """
    if bundle.manifest.precision == "float32":
        yield OnnxRuntimeBackend(bundle)
        return
    if bundle.manifest.precision == "float16":
        with IsolatedBackend(bundle) as backend:
            for graph in bundle.manifest.graphs:
                backend.load(graph)
    with tempfile.TemporaryDirectory(prefix="itr-deploy-") as directory:
        root = Path(directory)
        write_emulated(bundle, root)
        with IsolatedBackend(read_any_bundle(root)) as backend:
            yield backend
