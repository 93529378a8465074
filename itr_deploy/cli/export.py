"""``itr-deploy export FAMILY``: a checkpoint to a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from itr_deploy.cli.export_reranker import reranker_command
from itr_deploy.cli.output import steps
from itr_deploy.cli.parity_table import print_made
from itr_deploy.models.registry import (
    DEFAULT_OPSET,
    FAMILIES,
    RERANKERS,
    Family,
)

if TYPE_CHECKING:
    from itr_deploy.bundle.manifest import Precision, Quantization


@click.group("export")
def command() -> None:
    """Turn a trained checkpoint into a bundle.

    The bundle is compared with PyTorch before it appears; exit code 3 if it differs.
    """


def _type_of(option: FieldInfo) -> click.ParamType[Any]:
    if get_origin(option.annotation) is Literal:
        return click.Choice(get_args(option.annotation))
    return click.FLOAT if option.annotation is float else click.Path()


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
                [f"--{name.replace('_', '-')}", name],
                type=_type_of(option),
                default=option.default,
                show_default=option.default not in ("", None),
                help=option.description,
            )
            for name, option in family.options.model_fields.items()
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
