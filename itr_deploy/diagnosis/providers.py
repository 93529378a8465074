"""Starting a provider of ONNX Runtime on the smallest graph there is, to see that it is real.

ONNX Runtime lists what it was built with, whether or not it can be loaded; and a session whose
provider does not load computes on the CPU without an error.
"""

from __future__ import annotations

import base64
import re

from itr_deploy.diagnosis.attempt import attempt

# By onnx.helper: make_model(make_graph([make_node("Add", ["x", "x"], ["y"])], "d", ...),
# opset_imports=[make_opsetid("", 20)], ir_version=9), with x and y float32 [4].
DOUBLING = base64.b64decode(
    "CAk6NQoOCgF4CgF4EgF5IgNBZGQSAWRaDwoBeBIKCggIARIECgIIBGIPCgF5EgoKCAgBEgQKAggEQgQKABAU"
)
"""An ONNX model: ``y = x + x`` of ``float32 [4]``."""
GIVEN = (0.5, -1.0, 2.0, 3.25)

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def why_not_started(provider: str, timeout: float) -> str | None:
    """Start a provider in another process; None if it computes, or why it does not."""
    tried = attempt(doubled, provider, timeout=timeout)
    if tried.answer is None:
        return tried.problem
    providers, values = tried.answer
    if provider not in providers:
        return _first_error(tried.log)
    expected = [2 * value for value in GIVEN]
    if values != expected:
        return f"it computes wrong values: {values} instead of {expected}"
    return None


def doubled(provider: str) -> tuple[list[str], list[float]]:
    """The providers of a session that asked for one, and what it makes of `GIVEN`."""
    import numpy as np

    from itr_deploy.engines.library import import_library, installed
    from itr_deploy.runtime.backends.onnxruntime import import_onnxruntime
    from itr_deploy.runtime.backends.sessions import open_session

    if provider.startswith("Tensorrt") and installed("tensorrt"):
        import_library("tensorrt")
    runtime = import_onnxruntime("cpu" if provider.startswith("CPU") else "cuda")
    session = open_session(
        DOUBLING, runtime.SessionOptions(), providers=[provider], fallback=True, runtime=runtime
    )
    (values,) = session.run(["y"], {"x": np.array(GIVEN, np.float32)})
    return session.get_providers(), values.tolist()


def _first_error(log: str) -> str:
    """ONNX Runtime's first error, without colours, time and place in its source."""
    lines = [COLOUR.sub("", line).strip() for line in log.splitlines()]
    errors = [line for line in lines if "[E:onnxruntime" in line]
    first = next(filter(None, errors or lines), "onnxruntime does not say why")
    return first.rpartition("FAIL : ")[2]
