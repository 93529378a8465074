"""``itr-deploy export FAMILY`` for a registered family or re-ranker without a function here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from itr_deploy.cli.export.options import (
    FAMILY_PANEL,
    Base,
    Dtype,
    Heads,
    Opset,
    Punkt,
    Quantize,
    RerankerCheckpoint,
    RowsImageToText,
    RowsTextToImage,
    Similarity,
    Thresholds,
    Vocab,
)
from itr_deploy.cli.export.run import export_matcher, export_reranker
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
from itr_deploy.errors import UsageError
from itr_deploy.models.registry import DEFAULT_OPSET, Family, RerankerFamily


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
        punkt: Punkt = None,
        force: Force = False,
        threads: Threads = None,
        as_json: Json = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
        log_format: LogFormat = "text",
    ) -> None:
        options = _named(option or [])
        # Refused here: a name that is another argument's would make two of it.
        family.options.checked(family.name, options)
        common = (checkpoint, vocab, output, opset, dtype, quantize, force, as_json)
        export_matcher(family.name, *common, punkt=punkt, **options)

    return typer.main.get_command(app)


def registered_reranker_command(family: RerankerFamily) -> Any:
    """The command that exports a re-ranker, with its registration's defaults."""
    app = typer.Typer(add_completion=False)

    @app.command(family.name, help=family.title)
    def export(
        *,
        checkpoint: RerankerCheckpoint,
        base: Base,
        output: NewBundle,
        heads: Heads = family.heads,
        rows_text_to_image: RowsTextToImage = family.rows[0],
        rows_image_to_text: RowsImageToText = family.rows[1],
        edge_thresholds: Thresholds = "rows",
        intra_similarity: Similarity = "pooled",
        force: Force = False,
        as_json: Json = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
        log_format: LogFormat = "text",
    ) -> None:
        rows = (rows_text_to_image, rows_image_to_text)
        common = (checkpoint, base, output, heads, rows, edge_thresholds, intra_similarity)
        export_reranker(family.name, *common, force, as_json)

    return typer.main.get_command(app)


def _help(family: Family) -> str:
    options = [
        f"--option {name}={_values(field.annotation)}: {field.description}"
        for name, field in family.options.model_fields.items()
    ]
    return "\n\n".join([family.title, *options])


def _values(annotation: Any) -> str:
    return "|".join(get_args(annotation)) if get_origin(annotation) is Literal else "VALUE"


def _named(given: list[str]) -> dict[str, Any]:
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
