"""Options of every verb that runs a bundle: on what device, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def device_options(function: Function) -> Function:
    """Add ``--device`` and ``--backend``, arguments of `itr_deploy.runtime.Matcher.load`."""
    backend = click.option(
        "--backend",
        default="auto",
        show_default=True,
        help="onnxruntime; on a GPU also tensorrt, the bundle's engines, and onnxruntime-tensorrt. "
        "auto takes the engines where all are there and fit.",
    )
    device = click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
    return device(backend(function))
