"""An option that takes several numbers at once: ``1,8,64``."""

from __future__ import annotations

from typing import Any

import click


class Numbers(click.ParamType):  # type: ignore[type-arg]  # click 8.1 knows no arguments
    """Positive whole numbers with commas between, as a tuple without repetitions."""

    name = "numbers"

    def __init__(self, none: str | None = None) -> None:
        """Take the word that stands for None, if there is one."""
        self._none = none

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int | None, ...]:
        """See `click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        found = [self._number(part.strip(), parameter, context) for part in value.split(",")]
        return tuple(dict.fromkeys(found))

    def _number(
        self, part: str, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        if self._none is not None and part == self._none:
            return None
        if not (part.isascii() and part.isdigit()) or int(part) < 1:
            words = "" if self._none is None else f", or {self._none!r}"
            self.fail(
                f"{part!r} is not a whole number from 1{words}; give for example 1,8",
                parameter,
                context,
            )
        return int(part)
