"""Ids and metadata as users give them, checked before anything is stored.

What would poison a gallery later is refused here: LanceDB stores columns of any name, and then
cannot read some of them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.layout import EMBEDDING, ID, LENGTH, TENSOR_PREFIX
from itr_deploy.values import shown

LONGEST_ID = 1_024
"""Characters. All ids of a gallery are in one array in memory, each as wide as the longest."""
LONGEST_NAME = 200


def checked_ids(ids: Sequence[str]) -> list[str]:
    """The ids as a list.

    Raises:
        GalleryError: They are no list; or an id is not a string, is empty, too long, has a NUL
            character or is not valid Unicode, or is given twice.
    """
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__iter__"):
        raise GalleryError(f"ids is {shown(ids)}, not a list; give a list of texts, one per item")
    names = list(ids)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise GalleryError(f"id {place} is {shown(name)}; ids are non-empty strings")
        if len(name) > LONGEST_ID:
            raise GalleryError(
                f"id {place} has {len(name)} characters, the most are {LONGEST_ID}; give a shorter "
                "one and keep this in a metadata column"
            )
        if "\0" in name or not _is_unicode(name):
            raise GalleryError(
                f"id {place} is {shown(name)}, with a NUL character or half of a surrogate pair; "
                "ids are valid Unicode without NUL"
            )
    double = first_repeated(names)
    if double is not None:
        raise GalleryError(f"id {shown(double)} is given twice; ids must be unique")
    return names


def metadata_table(
    metadata: Mapping[str, Sequence[Any]] | None,
    count: int,
    types: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """The user's columns as an Arrow table with inferred types.

    Args:
        metadata: The columns, as given.
        count: Number of items.
        types: Of the columns that the gallery has, for those that are given without any value.

    Raises:
        GalleryError: A name that is reserved or cannot be read back, a wrong length, or values of
            mixed types.
    """
    arrays, names = [], []
    if metadata is not None and not isinstance(metadata, Mapping):
        raise GalleryError(
            f"metadata is a {type(metadata).__name__}; give a dictionary of columns, each a list "
            "with one value per item"
        )
    for name, values in (metadata or {}).items():
        _check_name(name)
        arrays.append(_column(name, values, count, (types or {}).get(name)))
        names.append(name)
    return pa.Table.from_arrays(arrays, names=names)


def readable(name: str) -> bool:
    """Whether LanceDB can read a column of this name again."""
    return "." not in name and "`" not in name and name != "*"


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise GalleryError(f"metadata column {shown(name)} is not named by a text; rename it")
    if name in (ID, EMBEDDING, LENGTH) or name.startswith((TENSOR_PREFIX, "_")):
        raise GalleryError(f"metadata column {shown(name)} is a name the gallery uses; rename it")
    if len(name) > LONGEST_NAME:
        raise GalleryError(
            f"metadata column {shown(name)} has a name of {len(name)} characters, the most are "
            f"{LONGEST_NAME}; rename it"
        )
    plain = _is_unicode(name) and not any(ord(sign) < 32 or ord(sign) == 127 for sign in name)
    # LanceDB 0.38 cannot update a column with a double quote in its name.
    if not name.strip() or not readable(name) or not plain or '"' in name:
        raise GalleryError(
            f"metadata column {shown(name)} cannot be named so; give it a name without dots, "
            "back-ticks, double quotes and control characters"
        )


def _column(name: str, values: Any, count: int, known: pa.DataType | None) -> pa.Array:
    """A column's values.

    Raises:
        GalleryError: They are not of the right number, or not of one type that can be stored.
    """
    called = f"metadata column {shown(name)}"
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise GalleryError(f"{called} is a {type(values).__name__}, not a list")
    try:
        given = len(values)
    except TypeError as error:
        raise GalleryError(f"{called} is a single value, not a list") from error
    if given != count:
        raise GalleryError(f"{called} has {given} values for {count} items")
    try:
        column = pa.array(values)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        column.validate(full=True)
    except Exception as error:
        # Values are any objects of the user's, and Arrow asks them in many ways.
        lines = str(error).splitlines() or [type(error).__name__]
        raise GalleryError(f"{called}: {lines[0][:200]}") from error
    for field in fields_in(column.type):
        _check_name(field)
    if known is not None and pa.types.is_null(column.type):
        return pa.nulls(count, known)
    if count and pa.types.is_null(column.type):
        raise GalleryError(
            f"{called} holds no value, so that it has no type; give it one or leave the column out"
        )
    return column


def overflows(given: pa.ChunkedArray, stored: pa.ChunkedArray) -> bool:
    """Whether a number becomes infinite as it is stored."""
    number = pa.types.is_floating(given.type) or pa.types.is_integer(given.type)
    if not (number and pa.types.is_floating(stored.type)):
        return False
    before, after = (column.to_numpy().astype(np.float64) for column in (given, stored))
    return bool((np.isinf(after) & ~np.isinf(before)).any())


def fields_in(kind: pa.DataType) -> Iterator[str]:
    """Names of all fields of records in a column."""
    for number in range(kind.num_fields):
        field = kind.field(number)
        if pa.types.is_struct(kind):
            yield field.name
        yield from fields_in(field.type)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
