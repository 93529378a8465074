"""One weights file for all graphs of a bundle: a matrix used by several graphs is stored once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import onnx_ir as ir

ALIGNMENT = 4096
"""Bytes to which weights are aligned: memory maps begin at page boundaries."""

INLINE_BYTES = 1024
"""Constants of at most this many bytes stay in the graph."""


class WeightsFile:
    """Appends initializers to a file and points the graphs at it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> WeightsFile:
        self._file = self.path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def take(self, model: ir.Model) -> None:
        """Move the large initializers of ``model`` into the file."""
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.nbytes > INLINE_BYTES:
                value.const_value = self._external(tensor)

    def _external(self, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        data = tensor.tobytes()
        key = hashlib.sha256(data).hexdigest()
        if key not in self._offsets:
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
            self._offsets[key] = self._file.tell()
            self._file.write(data)
            self._file.flush()
        return ir.ExternalTensor(
            self.path.name,
            self._offsets[key],
            len(data),
            tensor.dtype,
            shape=ir.Shape(tensor.numpy().shape),
            name=tensor.name or "",
            base_dir=self.path.parent,
        )
