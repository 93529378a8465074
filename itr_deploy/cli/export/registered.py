"""``itr-deploy export FAMILY`` of a family that is registered and has no function here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import itr_deploy
from itr_deploy.cli.export.options import FAMILY_PANEL, Dtype, Opset, Quantize, Vocab
from itr_deploy.cli.options import (
    Checkpoint,
    Force,
    Json,
    LogFormat,
    NewBundle,
    Quiet,
    Verbose,
)
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.parsers import text_of
from itr_deploy.cli.progress import steps
from itr_deploy.errors import UsageError
from itr_deploy.models.registry import DEFAULT_OPSET, Family, FamilyOption


def registered_command(family: Family) -> Any:
    """The command that exports a family by what its registration says."""
    app = typer.Typer(add_completion=False)

    @app.command(family.name, help=_help(family))
    def export(
        *,
        checkpoint: Checkpoint,
        vocab: Vocab,
        output: NewBundle,
        option: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=VALUE",
                help="An option of the family; may be repeated.",
                rich_help_panel=FAMILY_PANEL,
            ),
        ] = None,
        opset: Opset = DEFAULT_OPSET,
        dtype: Dtype = "float32",
        quantize: Quantize = None,
        force: Force = False,
        as_json: Json = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
        log_format: LogFormat = "text",
    ) -> None:
        with steps() as begin:
            made = itr_deploy.export(
                family.name,
                checkpoint=checkpoint,
                vocab=vocab,
                output=output,
                opset=opset,
                dtype=dtype,
                quantize=quantize,
                force=force,
                progress=begin,
                **_values(family, option or ()),
            )
        print_made(made, as_json)

    return typer.main.get_command(app)


def _help(family: Family) -> str:
    options = [
        f"--option {known.name}={'|'.join(known.choices) or known.kind}: {known.help}"
        for known in family.options
    ]
    return "\n\n".join([family.title, *options])


def _values(family: Family, given: list[str] | tuple[()]) -> dict[str, Any]:
    """The options of ``NAME=VALUE`` words.

    Raises:
        UsageError: A word is none, or a number is none.
        InputError: A file cannot be read.
    """
    known = {option.name: option for option in family.options}
    values = {}
    for word in given:
        name, separator, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not separator or not name:
            raise UsageError(f"--option {word}: must be NAME=VALUE")
        values[name] = _value(known.get(name), word, value)
    return values


def _value(option: FamilyOption | None, word: str, value: str) -> str | float:
    if option is None:
        return value
    if option.kind == "file":
        return text_of(Path(value))
    if option.kind == "choice" and value not in option.choices:
        raise UsageError(f"--option {word}: must be one of {', '.join(option.choices)}")
    if option.kind != "number":
        return value
    try:
        return float(value)
    except ValueError as error:
        raise UsageError(f"--option {word}: must be a number") from error
