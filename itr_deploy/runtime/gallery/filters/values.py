"""The values of a filter: which a column may be compared with, and how LanceDB reads them."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timezone

import pyarrow as pa

from itr_deploy.runtime.gallery.filters.conditions import Value
from itr_deploy.runtime.gallery.filters.grammar import FilterError

PATTERN = 1_000
"""Characters of a LIKE pattern, which LanceDB turns into a regular expression."""

_FINEST = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""Microseconds of a timestamp column's unit."""


def kind_of(column: pa.DataType) -> str | None:
    """The kind of value that a column is compared with, None if with none."""
    kinds = {
        "text": pa.types.is_string(column) or pa.types.is_large_string(column),
        "number": pa.types.is_integer(column) or pa.types.is_floating(column),
        "boolean": pa.types.is_boolean(column),
        "date": pa.types.is_date32(column),
        "timestamp": pa.types.is_timestamp(column),
    }
    return next((kind for kind, holds in kinds.items() if holds), None)


def literal(name: str, column: pa.DataType, value: Value) -> str:
    """A value as SQL, of the type of the column that it is compared with.

    Raises:
        FilterError: The column is never compared with such a value.
    """
    kind = kind_of(column)
    if value.kind == "null":
        raise FilterError(f"nothing equals NULL; write {name} IS NULL")
    if kind == "number" and value.kind == "number":
        return _number(name, column, value.text)
    if kind == "text" and value.kind == "text":
        return _text(value.text)
    if kind == "boolean" and value.kind == "boolean":
        return value.text.lower()
    if kind == "date" and value.kind in ("text", "date"):
        return f"date '{_date(value.text).isoformat()}'"
    if kind == "timestamp" and value.kind in ("text", "date", "timestamp"):
        return _timestamp(name, column, value.text)
    shown = (
        f"the text {value.text[:40]!r}"
        if value.kind == "text"
        else f"the {value.kind} {value.text[:40]}"
    )
    raise FilterError(f"it compares {name!r}, which holds {column}, with {shown}")


def pattern(text: str) -> str:
    """A LIKE pattern as SQL.

    Raises:
        FilterError: It is too long, or has a backslash that escapes nothing.
    """
    if len(text) > PATTERN:
        raise FilterError(f"a LIKE pattern has {len(text)} characters, the most are {PATTERN}")
    if re.search(r"(?<!\\)(\\\\)*\\(?![%_\\])", text):
        raise FilterError(
            f"in the LIKE pattern {text[:40]!r} a backslash stands before neither %, _ nor a "
            "backslash"
        )
    return _text(text)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the text {text[:40]!r} is not valid Unicode") from error
    return "'" + text.replace("'", "''") + "'"


def _number(name: str, column: pa.DataType, text: str) -> str:
    if pa.types.is_floating(column):
        number = float(text)
        if not math.isfinite(number):
            raise FilterError(f"{text[:40]} is too large a number")
        return repr(number)
    if not text.lstrip("+-").isdigit():
        if not float(text).is_integer():
            raise FilterError(f"{name!r} holds whole numbers ({column}), which {text[:40]} is not")
        if abs(float(text)) > 2**53:
            raise FilterError(f"write {text[:40]} as a whole number, without exponent or point")
        text = str(int(float(text)))
    # LanceDB reads a minus and a number, so that the smallest int64 cannot be written.
    most = min(2 ** (column.bit_width - pa.types.is_signed_integer(column)) - 1, 2**63 - 1)
    least = 0
    if pa.types.is_signed_integer(column):
        least = -most - (column.bit_width < 64)
    if len(text) > 21 or not least <= int(text) <= most:
        raise FilterError(
            f"{text[:40]} is out of the range of {name!r} ({column}: {least} to {most})"
        )
    return str(int(text))


def _date(text: str) -> date:
    try:
        if len(text) != len("2024-01-31"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError as error:
        raise FilterError(f"{text[:40]!r} is no date, such as '2024-01-31'") from error


def _timestamp(name: str, column: pa.DataType, text: str) -> str:
    """A timestamp in UTC, which is how LanceDB reads it whatever the column's time zone."""
    # Python before 3.11 knows no Z.
    spelled = text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text
    try:
        moment = datetime.fromisoformat(spelled)
        if moment.tzinfo is not None and column.tz is not None:
            moment = moment.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise FilterError(f"{text[:40]!r} is no time, such as '2024-01-31 12:30:00'") from error
    if moment.tzinfo is not None and column.tz is None:
        raise FilterError(f"{name!r} holds times without a time zone, {text[:40]!r} has one")
    if moment.microsecond % _FINEST[column.unit]:
        raise FilterError(f"{text[:40]!r} is finer than {name!r} holds ({column})")
    return f"timestamp '{moment.replace(tzinfo=None).isoformat(sep=' ')}'"
