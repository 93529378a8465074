"""A backend in a process of its own: requests on standard input, results on standard output.

Run as ``python -m itr_deploy.runtime.backends.child BUNDLE``. A message is its length in 8 bytes
and an ``.npz``: of a request the graph's name and the inputs, of a result the outputs or an error.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

RUN, LOAD, ERROR = "?run", "?load", "?error"
"""Keys that are no tensor's name."""


def send(stream: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write one message."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    stream.write(len(content.getvalue()).to_bytes(8, "little"))
    stream.write(content.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, NDArray[Any]] | None:
    """Read one message; None where the other side has ended."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    content = stream.read(int.from_bytes(head, "little"))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def main() -> None:
    """Serve one bundle until standard input ends."""
    # A terminal interrupts us too, and it is the parent that ends us then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from itr_deploy.bundle.store import read_bundle
    from itr_deploy.errors import ItrDeployError
    from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend

    # What libraries print must not come between the messages.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    backend = OnnxRuntimeBackend(read_bundle(sys.argv[1]))
    while (request := receive(sys.stdin.buffer)) is not None:
        try:
            if LOAD in request:
                backend.load(str(request[LOAD]))
                outputs: Mapping[str, Any] = {}
            else:
                outputs = backend.run(str(request.pop(RUN)), request)
        except ItrDeployError as error:
            outputs = {ERROR: np.array(str(error))}
        send(results, outputs)


if __name__ == "__main__":
    main()
