"""PyTorch imported without a search through all modules at each of its operators."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from itr_deploy.exporters.instead import instead

_searched = inspect.getmodule


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import PyTorch and what belongs to it.

    Its operators ask `inspect.getmodule` which module registers them, and that resolves the paths
    of all modules that are loaded, thousands. Here a frame's own name of its module answers.
    """
    with instead("inspect", "getmodule", _module_of):
        yield


def _module_of(thing: Any, file: str | None = None) -> Any:
    """`inspect.getmodule`, of a frame without a search where its module says the same."""
    if inspect.isframe(thing):
        module = sys.modules.get(thing.f_globals.get("__name__", ""))
        if getattr(module, "__file__", None) == thing.f_code.co_filename:
            return module
    return _searched(thing, file)
