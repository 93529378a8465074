"""Protobuf's text format, in which Triton reads a model's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""Strings, whole numbers, booleans, `Word`, messages, and lists of one kind, by fields' names."""


class Word(str):
    """The name of an enum's value, which stands without quotes."""

    __slots__ = ()


def text_of(message: Message) -> str:
    """A message as text, a field a line.

    Args:
        message: The fields. A list is a repeated one; if it has no messages, it stands in brackets.
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield f"{name} {{"
            yield from (f"  {line}" for line in _lines(value))
            yield "}"
        elif not isinstance(value, list):
            yield f"{name}: {_scalar(value)}"
        elif any(isinstance(entry, Mapping) for entry in value):
            for entry in value:
                yield from _lines({name: entry})
        else:
            yield f"{name}: [ {', '.join(map(_scalar, value))} ]" if value else f"{name}: []"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, Word)):
        return str(value)
    return f'"{"".join(map(_escaped, str(value).encode()))}"'


def _escaped(byte: int) -> str:
    """A byte of a string; names of files may have any."""
    return chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}"
