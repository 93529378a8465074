"""User columns of a gallery, from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError


def metadata_columns(path: Path, ids: Sequence[str]) -> dict[str, list[Any]]:
    """The user columns of a CSV file, in the order of ``ids``.

    Raises:
        InputError: The file cannot be read, has no column ``id``, repeats a column or an id, or
            lacks one of ``ids``.
    """
    try:
        types = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()})
        table = pyarrow.csv.read_csv(path, convert_options=types)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from error
    _refuse_repeated(path, "column", table.column_names)
    if "id" not in table.column_names:
        raise InputError(f"{path}: no column 'id'; it has {', '.join(table.column_names)}")
    _refuse_repeated(path, "id", table["id"].to_pylist())
    row = {name: place for place, name in enumerate(table["id"].to_pylist())}
    absent = [name for name in ids if name not in row]
    if absent:
        raise InputError(f"{path}: no row for id {absent[0]!r} ({len(absent)} are missing)")
    ordered = table.drop_columns(["id"]).take(pa.array([row[name] for name in ids]))
    return {name: ordered[name].to_pylist() for name in ordered.column_names}


def _refuse_repeated(path: Path, what: str, names: Sequence[str]) -> None:
    double = first_repeated(names)
    if double is not None:
        raise InputError(f"{path}: {what} {double!r} is there twice; each may come once")
