"""What a user may choose at export: one pydantic model per family, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from itr_deploy.errors import InputError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

_TEXTS = {"files": "texts"}
"""The context of values from a manifest, which stores the text of a file, not its path."""


def _text_of(value: Any, info: ValidationInfo) -> Any:
    if value is None:
        return ""
    if info.context is _TEXTS or value == "" or not isinstance(value, (str, os.PathLike)):
        return value
    try:
        return Path(value).read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{value}: cannot be read as text: {error}") from error


def _path_of(value: Any) -> Any:
    return None if value == "" else value


TextFile = Annotated[str, BeforeValidator(_text_of)]
"""A file: given as a path, read and kept as text; empty for none."""

Directory = Annotated[Path | None, BeforeValidator(_path_of)]
"""A directory, given and kept as a path."""


class FamilyOptions(BaseModel):
    """The options of a family: none, unless it derives its own model from this one.

    Every field has a default and a description, and its type says what it may be: a `Literal` of
    strings, a bounded number, a `TextFile` or a `Directory`. A manifest keeps the fields without
    ``exclude=True``, so that a bundle can be verified with the options it was made with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, family: str, given: Mapping[str, Any]) -> Self:
        """Check the options that a user gave.

        Args:
            family: The family's name, for messages.
            given: The options by name; files as paths.

        Raises:
            InputError: A file cannot be read, or is not what it should be.
            UsageError: The family has no such option, or the option does not take this value.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise UsageError(_complaint(cls, family, error)) from error

    @classmethod
    def of_manifest(cls, family: str, options: Mapping[str, Any]) -> Self:
        """Read the options that a bundle was made with.

        Args:
            family: The family's name, for messages.
            options: All options of the manifest; others among them are ignored.

        Raises:
            KeyError: An option is missing.
            InputError: A file's text is not what it should be.
            ValueError: An option has a value that is not known here.
        """
        kept = [name for name, field in cls.model_fields.items() if not field.exclude]
        try:
            return cls.model_validate({name: options[name] for name in kept}, context=_TEXTS)
        except ValidationError as error:
            raise ValueError(_complaint(cls, family, error)) from error


def _complaint(options: type[FamilyOptions], family: str, error: ValidationError) -> str:
    """The first error, in one line."""
    first = error.errors()[0]
    reason = f"{first['msg'][0].lower()}{first['msg'][1:]}"
    if not first["loc"]:
        return f"these options cannot be used with {family}: {reason}"
    name = first["loc"][0]
    if name not in options.model_fields:
        return (
            f"{family} has no option {name!r}; it has {', '.join(options.model_fields) or 'none'}"
        )
    return f"{name}={first['input']!r} cannot be used with {family}: {reason}"
