"""Wrong usage in one line: the value, what is wrong with it, where to look."""

from __future__ import annotations

from typing import Any

import typer


def explain(error: typer.TyperException) -> str:
    """What Typer says of wrong usage, with the value, which it leaves out, and the help to ask."""
    message = error.format_message().rstrip(".")
    message = message.replace("Value error, ", "").replace(": Input should", ": should")
    # What pydantic has refused is the cause: its words do not repeat the value.
    refused: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if refused and repr(refused[0]["input"]) not in message:
        message += f", not {refused[0]['input']!r}"
    context = getattr(error, "ctx", None)
    where = "itr-deploy" if context is None else context.command_path
    return f"{message[:1].lower()}{message[1:]}; see {where} --help"
