"""What runs a bundle for the gate: ONNX Runtime, in a safe way for every precision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.parity.emulated import write_emulated
from itr_deploy.runtime.backends import Backend, OnnxRuntimeBackend
from itr_deploy.runtime.backends.isolated import IsolatedBackend


@contextmanager
def judged_backend(bundle: Bundle) -> Iterator[Backend]:
    """A backend on the CPU: float32 here, half precision in a process of its own.

    Raises:
        SetupError: onnxruntime is not there.
    """
    precision = bundle.manifest.precision
    if precision == "float32":
        yield OnnxRuntimeBackend(bundle)
    elif precision == "float16":
        with IsolatedBackend(bundle) as backend:
            yield backend
    else:
        with tempfile.TemporaryDirectory(prefix="itr-deploy-") as directory:
            root = Path(directory)
            write_emulated(bundle, root)
            with IsolatedBackend(read_bundle(root)) as backend:
                yield backend
