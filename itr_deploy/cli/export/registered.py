"""``itr-deploy export FAMILY`` for a registered family that has no function here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

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
    Threads,
    Verbose,
)
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.progress import steps
from itr_deploy.errors import UsageError
from itr_deploy.models.registry import DEFAULT_OPSET, Family


def registered_command(family: Family) -> Any:
    """The command that exports a family according to its registration."""
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
        threads: Threads = None,
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
                **_named(option or []),
            )
        print_made(made, as_json)

    return typer.main.get_command(app)


def _help(family: Family) -> str:
    options = [
        f"--option {name}={_values(field.annotation)}: {field.description}"
        for name, field in family.options.model_fields.items()
    ]
    return "\n\n".join([family.title, *options])


def _values(annotation: Any) -> str:
    return "|".join(get_args(annotation)) if get_origin(annotation) is Literal else "VALUE"


def _named(given: list[str]) -> dict[str, str]:
    """Parse options given as ``NAME=VALUE``.

    Raises:
        UsageError: A word is not of this form.
    """
    values = {}
    for word in given:
        name, separator, value = word.partition("=")
        if not separator:
            raise UsageError(f"--option {word}: must be NAME=VALUE")
        values[name.strip().replace("-", "_")] = value
    return values
