"""``itr-deploy inspect``: what a bundle or a gallery holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import itr_deploy
from itr_deploy.cli.options import FollowLinks, Json, LogFormat, Quiet, Verbose
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.paths import gallery_place

LONGEST = 72
"""Length in characters up to which a table shows a value in full."""

TABLES = ("members", "graphs", "stored", "shards")

app = typer.Typer(add_completion=False)


@app.command()
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Directory of a bundle, a gallery or a gallery in shards, or a gallery's URL.",
            show_default=False,
        ),
    ],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Compare every stored byte that a search reads with its checksum."
        ),
    ] = False,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Show what is in the bundle or the gallery at PATH."""
    content = itr_deploy.inspect(path, verify=verify)
    if as_json:
        print_json(content)
        return
    tables = {key: content.pop(key) for key in TABLES if content.get(key)}
    rows = [(key, _short(value)) for key, value in content.items()]
    print_table(str(gallery_place(path)), ("", ""), rows)
    for title, entries in tables.items():
        columns = list(entries[0])
        print_table(title, columns, ([str(entry[c]) for c in columns] for entry in entries))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_line(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(value: Any) -> str:
    """A value on one line; for the text of a file only its size, ``--json`` has it in full."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= LONGEST and "\n" not in text else f"({len(text)} characters)"
