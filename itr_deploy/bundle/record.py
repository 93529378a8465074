"""The base of all our records on disk: immutable and without unknown fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Record(BaseModel):
    """A record; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SparseRecord(Record):
    """A record with optional fields: None by default, and then absent from its JSON.

    A field without a default is always written; None becomes null.
    """

    @model_serializer(mode="wrap")
    def _without_missing_parts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in dump(self).items()
            if value is not None or fields[name].is_required()
        }
