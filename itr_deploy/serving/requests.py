"""What a client may ask: the bodies of requests, checked before anything waits for them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from itr_deploy.bundle.modality import Modality

MOST_CHARACTERS = 10_000
"""Of a text or a filter."""


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# What Python takes for blank, which is a little more than what patterns do.
NOT_BLANK = r"[^\s\x1c-\x1f\x85]"

Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS, pattern=NOT_BLANK)]
Id = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
Whole = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
Row = Annotated[list[float], Field(min_length=1)]
Image = Annotated[list[Row], Field(min_length=1)]
"""Regions ``[R, Di]``."""

ABSENT: Any = None
"""Of a field that has no value where it is not given; null is none."""


def _absent_where_optional(schema: dict[str, Any]) -> None:
    """Say of fields that may be absent what they are if they are there."""
    for entry in schema.get("properties", {}).values():
        if entry.get("default", 0) is None:
            entry.pop("default")


class Asked(BaseModel):
    """A request: of every group in ``ONE_OF`` exactly one field is given."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, json_schema_extra=_absent_where_optional
    )

    ONE_OF: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, given: Any) -> Any:
        if cls.ONE_OF and isinstance(given, dict):
            there = [name for name in cls.ONE_OF if name in given]
            if len(there) != 1:
                known = " or ".join((", ".join(cls.ONE_OF[:-1]), cls.ONE_OF[-1]))
                what = f"both {there[0]} and {there[1]} are given" if there else "nothing is given"
                raise ValueError(f"{what}; give {known}, one of them")
            if given[there[0]] is None:
                raise ValueError(f"{there[0]} is null; give it a value")
        return given


def one_of(*names: str) -> Callable[[dict[str, Any]], None]:
    """Say in a schema that exactly one of these fields is required."""

    def add(schema: dict[str, Any]) -> None:
        _absent_where_optional(schema)
        schema["oneOf"] = [{"required": [name]} for name in names]

    return add


class SearchAsked(Asked):
    """A search: by a text, several texts, a picture, or the regions of an image."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("query", "queries", "image", "regions")
    model_config = ConfigDict(json_schema_extra=one_of(*ONE_OF))

    query: Text = Field(ABSENT, description="A text.", examples=["a red circle"])
    queries: Annotated[list[Text], Field(min_length=1)] = Field(
        ABSENT, description="Several texts."
    )
    image: str = Field(
        ABSENT, min_length=1, description="A picture's file in base64, or a data URI."
    )
    regions: Image = Field(ABSENT, description="Regions of an image, [R][Di].")
    k: Whole = Field(10, description="Hits a query.")
    where: Annotated[str, Field(max_length=MOST_CHARACTERS)] | None = Field(
        None, description="Conditions on the gallery's columns, in a part of SQL."
    )
    candidates: Whole | None = Field(
        None, description="Items that the matcher scores; null for all, absent for the bundle's."
    )
    prefilter: Whole | None = Field(
        None, description="Items that the prefilter reads; null for none, absent for the bundle's."
    )
    refine: Whole | None = Field(
        None,
        description="Items that the refiner reads; null for none, absent for the bundle's, or for "
        "none where candidates are given.",
    )
    rerank: bool = Field(False, description="Put the best hits in the re-ranker's order.")
    explain: bool = Field(False, description="Tell of every hit what matched.")


class ExplainAsked(Asked):
    """What matched between a text and an image of the gallery."""

    query: Text
    id: Id
    step: Whole | None = Field(
        None, description="The model's step; by default the last that enters the score."
    )
    attends: Modality | None = Field(None, description="Who attends.")


class ScoreAsked(Asked):
    """Scores of texts and images: images of the gallery, or others by their regions."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("ids", "regions")
    model_config = ConfigDict(json_schema_extra=one_of(*ONE_OF))

    texts: Annotated[list[Text], Field(min_length=1)]
    ids: Annotated[list[Id], Field(min_length=1)] = Field(ABSENT)
    regions: Annotated[list[Image], Field(min_length=1)] = Field(ABSENT)


class Document(Asked):
    """An item of the gallery."""

    id: Id


class RerankAsked(Asked):
    """Items of the gallery in the order of a query, in the form of Cohere's and Jina's services."""

    query: Text
    documents: Annotated[list[Id | Document], Field(min_length=1)]
    top_n: Whole | None = None
    model: str | None = None
    return_documents: bool = False

    @property
    def ids(self) -> list[str]:
        """The documents' ids."""
        return [one.id if isinstance(one, Document) else one for one in self.documents]


class EmbeddingsAsked(Asked):
    """Coarse embeddings of texts, in the form of OpenAI's service."""

    input: Text | Annotated[list[Text], Field(min_length=1)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        """The texts."""
        return [self.input] if isinstance(self.input, str) else self.input


def picture_bytes(image: str) -> bytes:
    """A picture's file, from base64 or a data URI.

    Raises:
        ValueError: It is neither.
    """
    if image.startswith("data:"):
        head, _, image = image.partition(",")
        if not head.endswith(";base64"):
            raise ValueError("image is a data URI that is not in base64")
    try:
        # Programs that write base64 break its lines.
        return base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("image is not base64") from error
