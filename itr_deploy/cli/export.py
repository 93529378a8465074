"""``itr-deploy export FAMILY``: a checkpoint to a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itr_deploy.cli.export_reranker import reranker_command
from itr_deploy.cli.output import steps
from itr_deploy.cli.parity_table import print_made
from itr_deploy.errors import InputError
from itr_deploy.models.registry import (
    DEFAULT_OPSET,
    FAMILIES,
    RERANKERS,
    Family,
    FamilyOption,
)

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Precision, Quantization


@click.group("export")
def command() -> None:
    """Turn a trained checkpoint into a bundle.

    The bundle is compared with PyTorch before it appears; exit code 3 if it differs.
    """


class _TextOfFile(click.ParamType[str]):
    """A file that is given by its path and passed on as its text."""

    name = "file"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        if not value:
            return ""
        try:
            return Path(value).read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{value}: cannot be read as text: {error}") from error


def _type_of(option: FamilyOption) -> click.ParamType[Any]:
    if option.kind == "choice":
        return click.Choice(option.choices)
    if option.kind == "number":
        return click.FloatRange(0, 1, max_open=True)
    return _TextOfFile() if option.kind == "file" else click.Path()


def _family_command(family: Family) -> click.Command:
    options: list[click.Parameter] = [
        click.Option(
            ["--checkpoint"],
            required=True,
            type=click.Path(path_type=Path),
            help="The published program's checkpoint, for example model_best.pth.tar.",
        ),
        click.Option(
            ["--vocab"],
            required=True,
            type=click.Path(path_type=Path),
            help="The vocabulary the model was trained with.",
        ),
        click.Option(
            ["--output"],
            required=True,
            type=click.Path(path_type=Path),
            help="Directory of the bundle to make.",
        ),
        *(
            click.Option(
                [f"--{option.name.replace('_', '-')}", option.name],
                type=_type_of(option),
                default=option.default,
                show_default=option.kind in ("choice", "number"),
                help=option.help,
            )
            for option in family.options
        ),
        click.Option(
            ["--opset"],
            type=click.IntRange(18, 22),
            default=DEFAULT_OPSET,
            show_default=True,
            help="ONNX operator set; 20 is the highest that every TensorRT takes.",
        ),
        click.Option(
            ["--dtype", "precision"],
            type=click.Choice(("float32", "float16", "bfloat16")),
            default="float32",
            show_default=True,
            help="Type of the matrix products. Half precision is for a GPU: on a CPU it is slower, "
            "and bfloat16 does not run.",
        ),
        click.Option(
            ["--quantize", "quantization"],
            type=click.Choice(("int8",)),
            help="Round the products that remain for every pair to 8 bits: quicker on a CPU. The "
            "encoders stay float32, and so galleries stay the same.",
        ),
        click.Option(["--force"], is_flag=True, help="Replace an existing bundle."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
    ]

    def run(**arguments: Any) -> None:
        _export(family, **arguments)

    return click.Command(
        family.name, callback=run, params=options, help=family.title, short_help=family.title
    )


def _export(
    family: Family,
    checkpoint: Path,
    vocab: Path,
    output: Path,
    opset: int,
    precision: Precision,
    quantization: Quantization | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    with steps(quiet=False) as begin:
        from itr_deploy.deploy.exporting import export

        result = export(
            family.name,
            checkpoint=checkpoint,
            vocab=vocab,
            output=output,
            opset=opset,
            dtype=precision,
            quantize=quantization,
            force=force,
            progress=begin,
            **options,
        )
    print_made(result, as_json)


for _family in FAMILIES:
    command.add_command(_family_command(_family))
for _reranker in RERANKERS:
    command.add_command(reranker_command(_reranker))
