"""Functions of libraries replaced for a while, by names that are not public."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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


@contextmanager
def instead_of_kernel(operator: Any, make: Callable[[Callable[..., Any]], Any]) -> Iterator[None]:
    """Give what an operator of PyTorch is made of another form; ``make`` is given PyTorch's.

    Nothing where operators are kept otherwise.
    """
    try:
        key = import_module("torch").DispatchKey.CompositeImplicitAutograd
        kernels, known = operator.py_kernels, operator._dispatch_cache
        original = kernels.get(key)
        value = make(original or partial(operator._op_dk, key))
    except AttributeError as error:
        log.debug("the longer way: %s", error)
        yield
        return
    kernels[key] = value
    known.clear()
    try:
        yield
    finally:
        kernels.pop(key)
        if original is not None:
            kernels[key] = original
        known.clear()
