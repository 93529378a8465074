"""What every record of ours on disk is: unchangeable, and nothing in it is unknown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record; fields that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
