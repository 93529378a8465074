"""What every record of ours on disk is: unchangeable, and nothing in it is unknown."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Record(BaseModel):
    """A record; fields that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SparseRecord(Record):
    """A record with parts that may be missing: None by default, and then absent from its JSON.

    A field without a default is always there; None in it is written as null.
    """

    @model_serializer(mode="wrap")
    def _without_missing_parts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in dump(self).items()
            if value is not None or fields[name].is_required()
        }
