"""Plain pickles of arrays, as programs write weights without PyTorch; nothing that they name runs.

What a pickle may name are numpy's arrays and numbers, each read by a stand-in of `plain_types`, and
two harmless parts of Python's library. Anything else ends the reading.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from itr_deploy.models.checkpoints.plain_types import RECONSTRUCTORS


def unpickled(path: Path) -> Any:
    """The content of a pickle of dictionaries, lists, strings, numbers and arrays.

    Text that Python 2 pickled as bytes is read as Latin-1, as numpy's own bytes must be.

    Raises:
        pickle.UnpicklingError: It names anything else, or is damaged.
    """
    with path.open("rb") as file:
        return _Unpickler(file, encoding="latin-1").load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name."""
        named = f"{module}.{name}"
        if named == "collections.OrderedDict":
            return OrderedDict
        if named == "_codecs.encode":
            return _bytes
        if named in RECONSTRUCTORS:
            return RECONSTRUCTORS[named]
        raise pickle.UnpicklingError(f"GLOBAL {named}")

    def persistent_load(self, reference: Any) -> Any:
        """Refuse what lies outside of the file."""
        raise pickle.UnpicklingError("refers to another file")


def _bytes(text: Any, encoding: Any = None) -> bytes:
    """Bytes, which protocol 2 has as text of the same numbers."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("GLOBAL _codecs.encode")
    return text.encode("latin-1")
