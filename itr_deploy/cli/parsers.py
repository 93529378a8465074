"""Parsers of option values: comma-separated numbers and words, sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import typer

from itr_deploy.errors import UsageError


def numbers(none: str | None = None) -> Callable[[str | Sequence[int | None]], list[int | None]]:
    """A parser of comma-separated positive integers without repetitions.

    Args:
        none: The word that stands for None, if there is one.
    """

    def parse(value: str | Sequence[int | None]) -> list[int | None]:
        if not isinstance(value, str):
            return list(value)
        return list(dict.fromkeys(number(part.strip()) for part in value.split(",")))

    def number(part: str) -> int | None:
        if none is not None and part == none:
            return None
        if not (part.isascii() and part.isdigit()) or int(part) < 1:
            words = "" if none is None else f", or {none!r}"
            raise typer.BadParameter(
                f"{part!r} is not a whole number from 1{words}; give for example 1,8"
            )
        return int(part)

    return parse


def region_counts(value: str | int | tuple[int, int]) -> tuple[int, int]:
    """The least and the most regions of a picture, from ``36`` or ``10-100``."""
    least, dash, most = str(value).partition("-")
    counts = (least, most if dash else least)
    if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in counts) or not (
        1 <= int(counts[0]) <= int(counts[1])
    ):
        raise typer.BadParameter(
            f"{value!r} is no number of regions; give for example 36 or 10-100"
        )
    return int(counts[0]), int(counts[1])


def byte_size(value: str | int) -> int:
    """Bytes of a size such as ``4GiB``, ``512 MB`` or ``1024``."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        # ByteSize ignores anything after a size.
        if not re.fullmatch(r"[\d.]+\s*[A-Za-z]*", str(value)):
            raise ValueError
        return int(TypeAdapter(ByteSize).validate_python(value))
    except (ValueError, ValidationError) as error:
        raise typer.BadParameter(
            f"{value!r} is not a size; give for example 512MiB or 4GiB"
        ) from error


def words(given: Sequence[str] | None) -> list[str]:
    """Values of an option that may be repeated or hold several values with commas between."""
    return [word.strip() for text in given or () for word in text.split(",") if word.strip()]


def axis_sizes(option: str, given: Sequence[str] | None) -> dict[str, int]:
    """The ``axis=size`` values of an option.

    Raises:
        UsageError: A value is not of this form.
    """
    sizes = {}
    for word in words(given):
        axis, _, size = word.partition("=")
        if not axis or not size.isdecimal():
            raise UsageError(f"{option} {word}: must be axis=size, such as candidates=500")
        sizes[axis] = int(size)
    return sizes
