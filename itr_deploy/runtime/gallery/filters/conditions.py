"""What a filter is made of, as the grammar reads it; column names are as the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column by its name, or a field of a column of records: ``size.width``."""

    name: str


@dataclass(frozen=True)
class Value:
    """A value that a column is compared with.

    Attributes:
        kind: ``"text"``, ``"number"``, ``"boolean"``, ``"date"`` or ``"timestamp"``.
        text: A text without its quotes; all others as they were written.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """``left operator right``; one of both is a column."""

    left: Column | Value
    operator: str
    right: Column | Value


@dataclass(frozen=True)
class Between:
    """``low <= column <= high``."""

    column: Column
    low: Value
    high: Value


@dataclass(frozen=True)
class OneOf:
    """``column IN (values)``."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """``column LIKE pattern``, or ILIKE, which takes no notice of case."""

    column: Column
    pattern: str
    operator: str


@dataclass(frozen=True)
class Is:
    """``column IS what``, which is ``"NULL"``, ``"TRUE"`` or ``"FALSE"``."""

    column: Column
    what: str


@dataclass(frozen=True)
class Truth:
    """A column of booleans by itself, or ``TRUE`` or ``FALSE``."""

    of: Column | Value


@dataclass(frozen=True)
class Not:
    """The negation of a condition."""

    part: Condition


@dataclass(frozen=True)
class Joined:
    """Conditions joined by one of ``"AND"`` and ``"OR"``."""

    operator: str
    parts: tuple[Condition, ...]
    depth: int
    count: int


Leaf = Comparison | Between | OneOf | Like | Is | Truth
Condition = Leaf | Not | Joined


def depth(condition: Condition) -> int:
    """How deeply ANDs and ORs lie in one another."""
    inner = condition.part if isinstance(condition, Not) else condition
    return inner.depth if isinstance(inner, Joined) else 0


def count(condition: Condition) -> int:
    """Number of leaves."""
    inner = condition.part if isinstance(condition, Not) else condition
    return inner.count if isinstance(inner, Joined) else 1
