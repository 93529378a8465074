"""PyTorch imported without what leaves no mark on an export: an eighth of the time of the imports.

Where a release of PyTorch has other names, or does not load like this, it is imported as ever.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from itr_deploy.exporters.instead import instead

SHARDED = "torch.distributed.fsdp._fully_shard"
"""Training on several machines: PyTorch's compiler does without if it is not there."""

DISTRIBUTED = "torch.distributed.tensor"
"""Of its tensors PyTorch asks in a trace whether one is a `DTensor`; there are none."""

POLYFILLS = "torch._dynamo.polyfills.loader"
"""Python's own functions, rewritten for the compiler."""

log = logging.getLogger(__name__)

_compiles = True
_searched = inspect.getmodule


def never_compiles() -> None:
    """Say that nothing will be compiled in this process: it ends with its export.

    The compiler of PyTorch, which its exporter imports, is then imported in part.
    """
    global _compiles
    _compiles = False


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import PyTorch and what belongs to it.

    Its operators ask `inspect.getmodule` which module registers them, and that resolves the paths
    of all modules that are loaded, thousands. Here a frame's own name of its module answers.
    """
    with instead("inspect", "getmodule", _module_of):
        if not _compiles:
            _import_exporter()
        yield


def _module_of(thing: Any, file: str | None = None) -> Any:
    """`inspect.getmodule`, of a frame without a search where its module says the same."""
    if inspect.isframe(thing):
        module = sys.modules.get(thing.f_globals.get("__name__", ""))
        if getattr(module, "__file__", None) == thing.f_code.co_filename:
            return module
    return _searched(thing, file)


def _import_exporter() -> None:
    """Import PyTorch's exporter, without what its compiler has for several machines."""
    import_module("torch.distributed")
    try:
        with ExitStack() as stack:
            stack.enter_context(instead("torch.distributed", "is_available", lambda: False))
            for name in (SHARDED, DISTRIBUTED):
                stack.enter_context(_imported_as(name, None))
            stack.enter_context(_imported_as(POLYFILLS, ModuleType(POLYFILLS)))
            import_module("torch._dynamo")
            import_module("torch._functorch.aot_autograd")
    except Exception as error:  # of a release that needs them; what failed is imported again
        log.debug("the longer way: %s", error)
        return
    spec = find_spec(DISTRIBUTED)
    if spec is not None and DISTRIBUTED not in sys.modules:
        sys.modules[DISTRIBUTED] = _Unused(DISTRIBUTED, spec.submodule_search_locations)


class _Unused(ModuleType):
    """Stands for a package until something else of it than `DTensor` is asked for."""

    def __init__(self, name: str, places: list[str] | None) -> None:
        super().__init__(name)
        self.__path__ = places or []
        self.DTensor = type("DTensor", (), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def _imported_as(name: str, module: ModuleType | None) -> Iterator[None]:
    """Give who imports a module another one, or none, for a while; nothing if it is loaded."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
