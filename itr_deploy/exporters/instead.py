"""Functions of libraries replaced for a while, by names that are not public."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)


@contextmanager
def instead(module: str, name: str, value: Any) -> Iterator[None]:
    """Give ``value`` a name of a module, or of a class in it; nothing where there is no such."""
    *path, last = name.split(".")
    try:
        owner: Any = import_module(module)
        for part in path:
            owner = getattr(owner, part)
        original = getattr(owner, last)
    except (ImportError, AttributeError) as error:
        log.debug("the longer way: %s", error)
        yield
        return
    setattr(owner, last, value)
    try:
        yield
    finally:
        setattr(owner, last, original)
