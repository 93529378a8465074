"""A split into a gallery that appears whole, or is extended in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from itr_deploy.bundle.manifest import Modality, StorageType
from itr_deploy.bundle.names import first_repeated
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.runtime import Gallery, Matcher
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.rerank.store import FOLDER, is_store


def index_split(
    matcher: Matcher,
    split: Split,
    output: Path,
    *,
    modality: Modality,
    storage: StorageType,
    metadata: Path | None,
    force: bool,
    append: bool,
    progress: Callable[[int], None],
) -> int:
    """Encode a split into a gallery; a new one appears at ``output`` only when it is complete.

    Captions get the user columns ``text`` and ``image_id``.

    Returns:
        Items in the gallery.

    Raises:
        ItrDeployError: What is wrong with the data, the output or the metadata.
    """
    ids: Sequence[str] = split.image_ids if modality == "image" else split.caption_ids
    items: Any = split.regions if modality == "image" else split.captions
    columns: dict[str, Sequence[Any]] = {}
    if modality == "text":
        columns = {"text": split.captions, "image_id": split.image_of_caption}
    if metadata is not None:
        columns |= _metadata_columns(metadata, ids)
    if append:
        gallery = Gallery.open(output, matcher)
        gallery.add(ids, items, columns, progress)
        return gallery.count()
    with staged_directory(output, force=force, replaceable=_is_gallery, kind="gallery") as root:
        gallery = Gallery.create(root, matcher, modality, storage)
        gallery.add(ids, items, columns, progress)
        return gallery.count()


def _is_gallery(path: Path) -> bool:
    """Whether a directory holds a gallery's table, with its phi store or none, and nothing else."""
    names = {entry.name for entry in path.iterdir()}
    stored = FOLDER in names and is_store(path / FOLDER)
    return names - ({FOLDER} if stored else set()) == {f"{TABLE}.lance"}


def _metadata_columns(path: Path, ids: Sequence[str]) -> dict[str, list[Any]]:
    """The user columns of a CSV file, put in the order of ``ids``."""
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
