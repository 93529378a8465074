"""Wrong usage in one line: the value, what is wrong with it, where to look."""

from __future__ import annotations

from typing import Any

import typer


def explain(error: typer.TyperException) -> str:
    """Typer's message on wrong usage, plus the value, which it leaves out, and the help command."""
    message = error.format_message().rstrip(".")
    message = message.replace("Value error, ", "").replace(": Input should", ": should")
    # The cause holds what pydantic refused; its message does not repeat the value.
    refused: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if refused and repr(refused[0]["input"]) not in message:
        message += f", not {refused[0]['input']!r}"
    context = getattr(error, "ctx", None)
    where = "itr-deploy" if context is None else context.command_path
    return f"{message[:1].lower()}{message[1:]}; see {where} --help"
