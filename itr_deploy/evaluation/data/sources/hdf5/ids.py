"""The ids of the rows of an HDF5 file, from the file or from one that lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.lines import read_lines
from itr_deploy.evaluation.data.sources.hdf5.contents import array, described
from itr_deploy.evaluation.data.sources.source import checked_id

IN_FILE = ("image_ids", "image_id", "ids")
LINES, ROWS, PICKLE = "{stem}_ids.txt", "{stem}_imgid2idx.json", "{stem}_imgid2idx.pkl"


def ids_of_rows(root: Any, path: Path, rows: int) -> dict[int, str]:
    """Ids by row, in the order of the rows; rows that nobody names are not there.

    Raises:
        InputError: Nothing says the ids, or they do not fit the rows.
    """
    own = array(root, IN_FILE, str(path))
    lines, numbered, pickled = (
        path.with_name(form.format(stem=path.stem)) for form in (LINES, ROWS, PICKLE)
    )
    if own is not None:
        return dict(enumerate(_in_file(own, str(path), rows)))
    if lines.is_file():
        found = [checked_id(line, str(lines)) for line in read_lines(lines)]
        if len(found) != rows:
            raise InputError(f"{lines}: {len(found)} ids for {rows} rows of {path.name}")
        return dict(enumerate(found))
    if numbered.is_file():
        return _numbered(numbered, rows)
    beside = (
        f"{pickled.name} is a pickle, which is not read; if you trust it, write {numbered.name}: "
        "python -c \"import json, pickle, sys; json.dump(pickle.load(open(sys.argv[1], 'rb')), "
        f"open(sys.argv[2], 'w'))\" {pickled.name} {numbered.name}"
    )
    if not pickled.is_file():
        beside = (
            f"put {lines.name}, one id a line in the order of its {rows} rows, beside it, or "
            f"{numbered.name}, a row for each id"
        )
    raise InputError(f"{path}: it does not say whose its rows are; {beside}")


def _in_file(own: Any, where: str, rows: int) -> list[str]:
    if own.shape != (rows,):
        raise InputError(f"{where}: {described(own)} for {rows} rows of features")
    values = own[()]
    if values.dtype.kind in "iu":
        return [str(value) for value in values.tolist()]
    texts = []
    for value in values.tolist():
        try:
            text = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: an id, {value[:40]!r}, is not UTF-8") from error
        if not isinstance(text, str):
            raise InputError(f"{where}: {described(own)}; expected whole numbers or texts as ids")
        texts.append(checked_id(text, where))
    return texts


def _numbered(path: Path, rows: int) -> dict[int, str]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; expected a row for each id")
    for name, row in content.items():
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < rows:
            raise InputError(
                f"{path}: the row of {name[:60]!r} is {str(row)[:40]}; expected a number from 0 to "
                f"{rows - 1}"
            )
    double = first_repeated(map(str, content.values()))
    if double is not None:
        raise InputError(f"{path}: row {double} belongs to two ids; every image has its own")
    by_row = {row: checked_id(name, str(path)) for name, row in content.items()}
    return {row: by_row[row] for row in sorted(by_row)}
