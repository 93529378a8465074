"""Whether a graph is what the manifest says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itr_deploy.bundle.manifest import GraphInfo, TensorInfo
from itr_deploy.bundle.names import shortened
from itr_deploy.errors import BundleError

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}


def check_declared(session: Any, graph: GraphInfo, name: str) -> None:
    """Compare the names, types and sizes of a graph's inputs and outputs with the manifest's.

    Args:
        session: The graph, an ``onnxruntime.InferenceSession``.
        graph: What the manifest says of it.
        name: What messages call the graph.

    Raises:
        BundleError: Something differs.
    """
    for kind, declared, found in (
        ("input", graph.inputs, session.get_inputs()),
        ("output", graph.outputs, session.get_outputs()),
    ):
        if {entry.name for entry in declared} != {entry.name for entry in found}:
            raise BundleError(
                f"{name}: its {kind}s are {_names(found)}, in the manifest {_names(declared)}; "
                "export the bundle again"
            )
        by_name = {entry.name: entry for entry in found}
        for entry in declared:
            _check(entry, by_name[entry.name], f"{name}: {kind} {entry.name!r}")


def _check(declared: TensorInfo, found: Any, called: str) -> None:
    dtype = TYPES.get(found.type, found.type)
    sizes = [size if isinstance(size, int) else None for size in found.shape]
    stated = [size if isinstance(size, int) else None for size in declared.shape]
    fits = len(sizes) == len(stated) and all(
        size is None or other is None or size == other
        for size, other in zip(sizes, stated, strict=True)
    )
    if dtype != declared.dtype or not fits:
        raise BundleError(
            f"{called} is {dtype} {list(found.shape)}, in the manifest {declared.dtype} "
            f"{shortened(str(list(declared.shape)))}; export the bundle again"
        )


def _names(entries: Sequence[Any]) -> str:
    return ", ".join(sorted(entry.name for entry in entries))
