"""User columns of a gallery, from a CSV file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.lines import refuse_other_encodings

_WHOLE = re.compile(r"-?(0|[1-9]\d*)")


def metadata_columns(path: Path, ids: Sequence[str], taken: Sequence[str] = ()) -> dict[str, Any]:
    """The user columns of a CSV file, in the order of ``ids``, with the types that Arrow infers.

    A column in which numbers would lose something stays text: with leading zeros, as article
    numbers have them, or whole numbers of more digits than 64 bits hold.

    Args:
        path: The file.
        ids: Of the items.
        taken: Names of columns that the items have already.

    Raises:
        InputError: The file cannot be read or is not UTF-8, has no column ``id``, repeats a column
            or an id, has a column of a name that is taken, or lacks one of ``ids``.
    """
    refuse_other_encodings(path)
    try:
        table = _read(path, ["id"])
        _refuse_repeated(path, "column", table.column_names)
        # An empty field of a number is a missing value, and stays one.
        as_text = _read(path, table.column_names, strings_can_be_null=True)
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if "id" not in table.column_names:
        raise InputError(f"{path}: no column 'id'; it has {', '.join(table.column_names)}")
    own = [name for name in taken if name in table.column_names]
    if own:
        raise InputError(f"{path}: column {own[0]!r} is one that captions have already; rename it")
    _refuse_repeated(path, "id", table["id"].to_pylist())
    row = {name: place for place, name in enumerate(table["id"].to_pylist())}
    absent = [name for name in ids if name not in row]
    if absent:
        raise InputError(f"{path}: no row for id {absent[0]!r} ({len(absent)} are missing)")
    places = pa.array([row[name] for name in ids])
    return {
        name: (as_text if _loses(table[name].type, as_text[name]) else table)[name]
        .take(places)
        .to_pylist()
        for name in table.column_names
        if name != "id"
    }


def _read(path: Path, texts: Sequence[str], **options: bool) -> pa.Table:
    types = dict.fromkeys(texts, pa.string())
    convert = pyarrow.csv.ConvertOptions(column_types=types, **options)
    return pyarrow.csv.read_csv(path, convert_options=convert)


def _loses(kind: pa.DataType, texts: pa.ChunkedArray) -> bool:
    """Whether numbers of this type are not what the texts are."""
    if pa.types.is_integer(kind):
        return any(text is not None and not _WHOLE.fullmatch(text) for text in texts.to_pylist())
    if pa.types.is_floating(kind):
        given = [text for text in texts.to_pylist() if text is not None]
        return all(text.lstrip("+-").isdigit() for text in given)
    return False


def _refuse_repeated(path: Path, what: str, names: Sequence[str]) -> None:
    double = first_repeated(names)
    if double is not None:
        raise InputError(f"{path}: {what} {double!r} is there twice; each may come once")
