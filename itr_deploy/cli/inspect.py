"""``itr-deploy inspect``: what a bundle or a gallery holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from itr_deploy.cli.output import print_json, print_table

LONGEST = 72
"""Characters of a value that a table shows whole."""


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(path: Path, as_json: bool) -> None:
    """Show what is in the bundle or the gallery at PATH."""
    from itr_deploy.deploy.inspecting import inspect

    content = inspect(path)
    if as_json:
        print_json(content)
        return
    tables = {key: content.pop(key) for key in ("members", "graphs", "stored") if content.get(key)}
    rows = [(key, _short(value)) for key, value in content.items()]
    print_table(str(path), ("", ""), rows)
    for title, entries in tables.items():
        columns = list(entries[0])
        print_table(title, columns, ([str(entry[c]) for c in columns] for entry in entries))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_line(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(value: Any) -> str:
    """A value on one line; the text of a file is only measured, ``--json`` has it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= LONGEST and "\n" not in text else f"({len(text)} characters)"
