"""Options shared by several verbs. The values of a choice are a type of the library."""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from itr_deploy.bundle.links import FOLLOW_LINKS
from itr_deploy.cli import logs
from itr_deploy.errors import UsageError

# Importing the library's own types would need pydantic, which help does not. A test compares
# them.
StorageType = Literal["float16", "float32", "int8"]
Precision = Literal["float32", "float16", "bfloat16"]
Quantization = Literal["int8"]
EngineTarget = Literal["tensorrt", "tensorrt-rtx"]

DEVICE_PANEL = "Where it runs"
PRINTING_PANEL = "What is printed"

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The bundle's directory.", show_default=False)
]
Data = Annotated[
    Path,
    typer.Option(help="Directory with {split}_ims.npy or _feat.npy, _caps.txt and _ids.txt."),
]
Split = Annotated[str, typer.Option(help="Which split of the data.")]
NewBundle = Annotated[Path, typer.Option("--output", help="Directory of the bundle to make.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]

LockTimeout = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="SECONDS", help="How long to wait for another writer of the gallery."
    ),
]

Checkpoint = Annotated[
    Path, typer.Option(help="The published program's checkpoint, for example model_best.pth.tar.")
]
Baseline = Annotated[
    Literal["torch"] | None,
    typer.Option(help="Also run the PyTorch model of --checkpoint and compare.", metavar="torch"),
]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="The checkpoint for --baseline; of an ensemble one a member, in their order; with "
        "evaluate's --rerank the re-ranker's last.",
    ),
]

Device = Annotated[
    str,
    typer.Option(
        help="cpu or cuda.", autocompletion=lambda: ["cpu", "cuda"], rich_help_panel=DEVICE_PANEL
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        help="onnxruntime; on a GPU also tensorrt, the bundle's engines, and "
        "onnxruntime-tensorrt. auto takes the engines where all are there and fit.",
        autocompletion=lambda: ["auto", "onnxruntime", "onnxruntime-tensorrt", "tensorrt"],
        rich_help_panel=DEVICE_PANEL,
    ),
]


def _follow_links(wanted: bool) -> bool:
    """Follow links for the rest of the process."""
    if wanted:
        os.environ[FOLLOW_LINKS] = "1"
    return wanted


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        from itr_deploy.runtime.cpus import use_threads

        use_threads(threads)


# The callbacks of these two do all the work; a verb only lists them.
Threads = Annotated[
    int | None,
    typer.Option(
        help="Threads that compute on the CPU; by default $ITR_DEPLOY_THREADS, else "
        "$OMP_NUM_THREADS, else every core that affinity and CPU quota allow.",
        min=1,
        max=1024,
        is_eager=True,
        callback=_use_threads,
        show_default=False,
        rich_help_panel=DEVICE_PANEL,
    ),
]

FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Read a bundle whose files are links that lead out of it, as "
        "$ITR_DEPLOY_FOLLOW_LINKS=1 does.",
        is_eager=True,
        callback=_follow_links,
        show_default=False,
        rich_help_panel=DEVICE_PANEL,
    ),
]

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON document.",
        rich_help_panel=PRINTING_PANEL,
    ),
]
# The callbacks of the next three do all the work; a verb only lists them.
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        is_eager=True,
        callback=logs.set_verbosity,
        help="Also tell what is decided; -vv tells more.",
        show_default=False,
        metavar="",
        rich_help_panel=PRINTING_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        is_eager=True,
        callback=logs.set_quiet,
        help="Show no progress; warnings and errors stay.",
        rich_help_panel=PRINTING_PANEL,
    ),
]
LogFormat = Annotated[
    logs.LogFormat,
    typer.Option(
        is_eager=True,
        callback=logs.set_format,
        help="Form of what standard error gets; json is one object per line.",
        rich_help_panel=PRINTING_PANEL,
    ),
]


def from_environment(option: Any, variable: str) -> Any:
    """An option of several verbs that one of them also takes from a variable.

    Args:
        option: The option, of this module.
        variable: The variable's name.
    """
    described = copy(option.__metadata__[0])
    described.envvar = variable
    return described


def check_baseline(baseline: str | None, checkpoints: list[Path] | None) -> None:
    """Refuse a baseline without its checkpoint, and the reverse.

    Raises:
        UsageError: One is given without the other.
    """
    if (baseline is None) != (not checkpoints):
        raise UsageError("--baseline torch and --checkpoint go together; give both or none")
