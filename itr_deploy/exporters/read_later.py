"""onnxscript's functions whose source is read when one is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxscript

_script = onnxscript.script


class ReadLater(onnxscript.OnnxFunction):  # type: ignore[type-arg]
    """A function that is read, that is, its source parsed and translated, at its first use.

    A module of translations has dozens, of which a graph needs few.
    """

    def __init__(self, read: Callable[[], onnxscript.OnnxFunction[..., Any]]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        if name == "_read":
            raise AttributeError(name)
        self.__dict__.update(self._read().__dict__)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None


def script(*given: Any, **named: Any) -> Callable[[Callable[..., Any]], ReadLater]:
    """`onnxscript.script`, which reads a function later."""

    def later(function: Callable[..., Any]) -> ReadLater:
        return ReadLater(lambda: _script(*given, **named)(function))

    return later
