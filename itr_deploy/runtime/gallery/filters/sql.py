"""Filters checked against a gallery's columns and written anew as SQL for LanceDB."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import pyarrow as pa

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.filters import conditions as c
from itr_deploy.runtime.gallery.filters.grammar import FilterError, parsed
from itr_deploy.runtime.gallery.filters.values import kind_of, literal, pattern
from itr_deploy.values import TEXT

SHOWN = 120
"""Characters of a filter that a message repeats."""

_NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TURNED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_OTHER = {"AND": "OR", "OR": "AND"}


def filter_sql(where: object, columns: Mapping[str, pa.DataType]) -> str:
    """Read a filter, check it, and write it anew.

    Args:
        where: What the user gave.
        columns: Type of every column that a filter may name.

    Returns:
        SQL of quoted columns and plain literals, which LanceDB understands.

    Raises:
        GalleryError: It is not of the grammar, or compares what cannot be compared.
        UsageError: It is no text.
    """
    try:
        return _written(str(TEXT("where", where)), tuple(columns.items()))
    except FilterError as error:
        text = str(where)
        shown = text if len(text) <= SHOWN else text[:SHOWN] + "..."
        raise GalleryError(
            f"where={shown!r} is not understood: {error}; write it as SQL over the gallery's "
            "columns, for example \"split = 'test'\""
        ) from error


@lru_cache(maxsize=32)
def _written(where: str, columns: tuple[tuple[str, pa.DataType], ...]) -> str:
    return _Writer(dict(columns)).sql(parsed(where), negated=False)


class _Writer:
    """Writes conditions for a table's columns.

    Negations are carried down to the leaves, which three-valued logic allows: LanceDB's own parser
    takes time exponential in the depth of NOT (...).
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self._columns = columns

    def sql(self, condition: c.Condition, negated: bool) -> str:
        """A condition or its negation."""
        if isinstance(condition, c.Not):
            return self.sql(condition.part, not negated)
        if isinstance(condition, c.Joined):
            operator = _OTHER[condition.operator] if negated else condition.operator
            parts = [self.sql(part, negated) for part in condition.parts]
            return "(" + f" {operator} ".join(parts) + ")"
        if isinstance(condition, c.Comparison):
            return self._comparison(condition, negated)
        if isinstance(condition, c.Between):
            low, high = (
                c.Comparison(condition.column, ">=", condition.low),
                c.Comparison(condition.column, "<=", condition.high),
            )
            operator = "OR" if negated else "AND"
            return (
                f"({self._comparison(low, negated)} {operator} {self._comparison(high, negated)})"
            )
        if isinstance(condition, c.OneOf):
            return self._one_of(condition, negated)
        if isinstance(condition, c.Like):
            return self._like(condition, negated)
        if isinstance(condition, c.Is):
            return self._is(condition, negated)
        return self._truth(condition, negated)

    def _comparison(self, of: c.Comparison, negated: bool) -> str:
        left, operator, right = of.left, of.operator, of.right
        if isinstance(left, c.Value):
            if isinstance(right, c.Value):
                raise FilterError("it compares two values; one of them must be a column")
            left, operator, right = right, _TURNED[operator], left
        if negated:
            operator = _NEGATED[operator]
        name, kind = self._comparable(left)
        if isinstance(right, c.Value):
            return f"{_quoted(name)} {operator} {self._literal(name, right)}"
        other, other_kind = self._comparable(right)
        if kind != other_kind:
            raise FilterError(
                f"it compares {name!r} ({self._columns[name]}) with {other!r} "
                f"({self._columns[other]})"
            )
        return f"{_quoted(name)} {operator} {_quoted(other)}"

    def _one_of(self, of: c.OneOf, negated: bool) -> str:
        name, _ = self._comparable(of.column)
        values = ", ".join(self._literal(name, value) for value in of.values)
        if negated:
            # DataFusion makes "a NOT IN (1) OR a NOT IN (2)" true, also where a is NULL.
            return f"({_quoted(name)} IS NOT NULL AND {_quoted(name)} NOT IN ({values}))"
        return f"{_quoted(name)} IN ({values})"

    def _like(self, of: c.Like, negated: bool) -> str:
        name, kind = self._comparable(of.column)
        if kind != "text":
            raise FilterError(f"{of.operator} is for texts; {name!r} holds {self._columns[name]}")
        return f"{_quoted(name)} {'NOT ' * negated}{of.operator} {pattern(of.pattern)}"

    def _is(self, of: c.Is, negated: bool) -> str:
        name = self._resolved(of.column)
        if of.what != "NULL" and kind_of(self._columns[name]) != "boolean":
            raise FilterError(f"IS {of.what} is for booleans; {name!r} holds {self._columns[name]}")
        return f"{_quoted(name)} IS {'NOT ' * negated}{of.what}"

    def _truth(self, of: c.Truth, negated: bool) -> str:
        if isinstance(of.of, c.Value):
            if of.of.kind != "boolean":
                raise FilterError(f"{of.of.text[:40]!r} alone is no condition")
            return str((of.of.text == "TRUE") != negated).lower()
        name = self._resolved(of.of)
        if kind_of(self._columns[name]) != "boolean":
            raise FilterError(
                f"{name!r} alone is no condition, it holds {self._columns[name]}; compare it"
            )
        return f"{_quoted(name)} = {str(not negated).lower()}"

    def _literal(self, name: str, value: c.Value) -> str:
        return literal(name, self._columns[name], value)

    def _comparable(self, column: c.Column) -> tuple[str, str]:
        """A column's true name, and the kind of value that it is compared with."""
        name = self._resolved(column)
        kind = kind_of(self._columns[name])
        if kind is None:
            raise FilterError(
                f"{name!r} holds {self._columns[name]}, which is not compared; "
                "IS NULL and IS NOT NULL may be asked of it"
            )
        return name, kind

    def _resolved(self, column: c.Column) -> str:
        if column.name in self._columns:
            return column.name
        alike = [name for name in self._columns if name.lower() == column.name.lower()]
        if len(alike) == 1:
            return alike[0]
        known = ", ".join(self._columns)
        raise FilterError(f"there is no column {column.name[:60]!r}; it has {known[:300]}")


def _quoted(name: str) -> str:
    if "`" in name:
        raise FilterError(f"column {name!r} has a back-tick in its name and cannot be filtered")
    return ".".join(f"`{part}`" for part in name.split("."))
