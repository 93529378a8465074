"""The columns of a gallery's table, and the description stored in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from itr_deploy.bundle.manifest import Manifest, StorageType, StoredTensor
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.names import scale_name
from itr_deploy.bundle.record import SparseRecord
from itr_deploy.errors import GalleryError

TABLE = "items"
ID, EMBEDDING, LENGTH = "id", "embedding", "length"
TENSOR_PREFIX = "tensor_"
BOXES, PICTURE_SIZE = "tensor__boxes", "tensor__picture_size"
"""Where the regions are, and how large the picture is; no stored tensor can be named so."""
METADATA_KEY = b"itr_deploy"
ID_KEY = b"itr_deploy_id"
"""The gallery's own id, beside the description, where older releases do not look."""
SCHEMA_VERSION = 1

_VALUES = {"float16": pa.float16(), "float32": pa.float32(), "int8": pa.int8()}


@dataclass(frozen=True)
class TensorColumn:
    """The column of a stored tensor, or of the scales of an int8 tensor.

    Attributes:
        name: The array's name, as in `Block`.
        storage: Type of its values.
        per_position: Whether there is a row for every region or word.
        row: Shape of a row: ``(width,)``, or ``()`` for scales.
    """

    name: str
    storage: StorageType
    per_position: bool
    row: tuple[int, ...]

    @property
    def column(self) -> str:
        """The column's name in the table."""
        return TENSOR_PREFIX + self.name

    @property
    def row_values(self) -> int:
        """Number of values per row."""
        return math.prod(self.row)

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        return self.row_values * np.dtype(self.storage).itemsize

    def shape(self, items: int, positions: int) -> tuple[int, ...]:
        """Shape of the array for this many items."""
        return (items, positions, *self.row) if self.per_position else (items, *self.row)


class Description(SparseRecord):
    """What a gallery is, kept in its table's schema.

    Attributes:
        modality: Modality of the items.
        storage: Type of the stored tensors.
        encoding_id: Encoding id of the bundle whose encoders made the tensors.
        tensors: The tensors stored per item.
        embedding_dim: Width of the coarse embedding, with all views of an image.
        positions: For images, the regions per image, None before the first image, if nothing is
            stored per region, or if images are ragged. For texts, the padded length if the model
            fixes it, else None.
        family: Family of the bundle, human-readable.
        views: Number of vectors in an item's embedding, of which the best counts, None for one.
        ragged: True where images differ in their numbers of regions, which are stored with them.
    """

    schema_version: int = SCHEMA_VERSION
    modality: Modality
    storage: StorageType
    encoding_id: str
    tensors: tuple[StoredTensor, ...]
    embedding_dim: int
    positions: int | None
    family: str
    views: int | None = None
    ragged: Literal[True] | None = None

    @classmethod
    def of(cls, manifest: Manifest, modality: Modality, storage: StorageType) -> Description:
        """The description of a new gallery made with a bundle."""
        items = manifest.items(modality)
        return cls(
            modality=modality,
            storage=storage,
            encoding_id=manifest.encoding_id,
            # Checked as an item is encoded, and unknown to older releases.
            tensors=tuple(spec.model_copy(update={"unit": None}) for spec in items.tensors),
            embedding_dim=manifest.embedding_width(modality),
            positions=items.positions,
            family=manifest.family,
            views=manifest.images.views if modality == "image" else None,
        )

    @property
    def has_lengths(self) -> bool:
        """Whether the number of words or regions is stored with every item."""
        return self.modality == "text" or bool(self.ragged)

    @property
    def columns(self) -> Iterator[TensorColumn]:
        """The column of every stored tensor, each followed by its scales if stored as int8."""
        for spec in self.tensors:
            yield TensorColumn(spec.name, self.storage, spec.per_position, (spec.width,))
            if self.storage == "int8":
                yield TensorColumn(scale_name(spec.name), "float32", spec.per_position, ())

    @property
    def position_bytes(self) -> int:
        """Bytes stored per region or word."""
        return sum(column.row_bytes for column in self.columns if column.per_position)

    @property
    def item_bytes(self) -> int:
        """Bytes stored per item, besides those of its positions."""
        return sum(column.row_bytes for column in self.columns if not column.per_position)


def schema(
    description: Description,
    metadata: Sequence[pa.Field],
    gallery_id: str = "",
    *,
    boxes: bool = False,
) -> pa.Schema:
    """The table's schema.

    Id, user columns, length (texts, ragged images), embedding, tensors; with ``boxes`` also boxes
    and picture size, which releases that know of none leave alone.
    """
    fields = [pa.field(ID, pa.string(), nullable=False), *metadata]
    if description.has_lengths:
        fields.append(pa.field(LENGTH, pa.int32()))
    fields.append(pa.field(EMBEDDING, pa.list_(pa.float32(), description.embedding_dim)))
    for entry in description.columns:
        fields.append(pa.field(entry.column, _list_type(entry, description.positions)))
    if boxes:
        fields.append(pa.field(BOXES, pa.list_(pa.float32())))
        fields.append(pa.field(PICTURE_SIZE, pa.list_(pa.float32(), 2)))
    about = {METADATA_KEY: description.model_dump_json()}
    return pa.schema(fields, metadata={**about, ID_KEY: gallery_id} if gallery_id else about)


def has_boxes(table_schema: pa.Schema) -> bool:
    """Whether regions' boxes and pictures' sizes are stored, for images that have them."""
    return BOXES in table_schema.names


def named(names: Sequence[str]) -> str:
    """The condition, in LanceDB's SQL, that an item has one of these ids."""
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return f"`{ID}` IN ({quoted})"


def new_id() -> str:
    """An id for a gallery that has none."""
    return uuid4().hex


def own_id(table_schema: pa.Schema) -> str:
    """The gallery's own id, empty for one that an older release made."""
    return (table_schema.metadata or {}).get(ID_KEY, b"").decode(errors="replace")  # type: ignore[no-any-return]


def filter_columns(table_schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns that a filter may name, with their types; ``a.b`` is field b of record a."""
    own = (ID, *metadata_columns(table_schema), LENGTH)
    found: dict[str, pa.DataType] = {}
    waiting = {name: table_schema.field(name).type for name in own if name in table_schema.names}
    while waiting:
        found |= waiting
        waiting = {
            f"{name}.{field.name}": field.type
            for name, kind in waiting.items()
            if pa.types.is_struct(kind)
            for field in (kind.field(number) for number in range(kind.num_fields))
        }
    return found


def describe(table_schema: pa.Schema, place: str) -> Description:
    """Read back what `schema` wrote.

    Raises:
        GalleryError: The table is not a gallery, is damaged, or is of a newer version.
    """
    try:
        stored = json.loads((table_schema.metadata or {})[METADATA_KEY])
        version = stored["schema_version"]
    except (KeyError, ValueError, TypeError) as error:
        raise GalleryError(f"{place}: a LanceDB table, but not a gallery of itr-deploy") from error
    if version > SCHEMA_VERSION:
        raise GalleryError(
            f"{place}: made by a newer itr-deploy (gallery schema {version}, this one reads "
            f"{SCHEMA_VERSION}); upgrade with pip install -U itr-deploy"
        )
    try:
        return Description.model_validate_json(json.dumps(stored))
    except ValidationError as error:
        raise GalleryError(
            f"{place}: its description is damaged: {error.errors()[0]['msg']}"
        ) from error


def metadata_columns(table_schema: pa.Schema) -> list[str]:
    """Names of the user's columns."""
    own = {ID, EMBEDDING, LENGTH}
    names = [field.name for field in table_schema]
    return [name for name in names if name not in own and not name.startswith(TENSOR_PREFIX)]


def _list_type(entry: TensorColumn, positions: int | None) -> pa.DataType:
    """A list per item, of fixed size if all items have the same number of positions."""
    value = _VALUES[entry.storage]
    if not entry.per_position:
        return pa.list_(value, entry.row_values)
    return pa.list_(value) if positions is None else pa.list_(value, positions * entry.row_values)
