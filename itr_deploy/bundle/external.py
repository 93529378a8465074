"""The files that an ONNX graph reads besides its own, found without reading the graph."""

from __future__ import annotations

import re

from itr_deploy.errors import BundleError

_LOCATION = re.compile(rb"j([\x0d-\x7f])\n\x08location\x12([\x01-\x7f])", re.DOTALL)
"""An entry of ``external_data`` as every writer of protocol buffers has it: the key, then the value
with its length before it, in one byte, and the length of both before them."""
_KEY = re.compile(rb"[\x08\x00]location")
"""The key with its length, 8, which can also be written as several bytes that end in 0."""


def external_files(graph: bytes, name: str) -> set[str]:
    """Names of the files with a graph's weights, relative to the graph's directory.

    Args:
        graph: Content of an ONNX file.
        name: What messages call it.

    Raises:
        BundleError: The graph mentions a location in a form that is not the usual one.
    """
    # An entry that is longer has something else in it, such as another value, which would hold.
    found = [m for m in _LOCATION.finditer(graph) if m[1][0] == len(m[0]) - 2 + m[2][0]]
    if len(found) != sum(1 for _ in _KEY.finditer(graph)):
        raise BundleError(
            f"{name}: where its weights are is written in an unusual form; export the bundle again"
        )
    values = (graph[match.end() : match.end() + match[2][0]] for match in found)
    return {value.decode("utf-8", "replace") for value in values}
