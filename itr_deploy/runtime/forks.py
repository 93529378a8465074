"""Forks: a new process gets this one's memory, but none of its threads.

ONNX Runtime, LanceDB and CUDA have threads and locks of their own. In a fork of a process that used
them their calls hang, or end the process by a signal, at random; a new session or a new connection
there does too, as a library's own state was inherited. A fork is therefore refused, in one line.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from typing import Any, NoReturn

from itr_deploy.errors import SetupError, UsageError

_user: int | None = None
"""The process that first used one of the libraries."""
_kept: weakref.WeakSet[Any] = weakref.WeakSet()


def check_process() -> None:
    """Note that this process uses a library with threads of its own, before it does.

    Raises:
        SetupError: It is a fork of a process that did.
    """
    global _user
    pid = os.getpid()
    if _user is None:
        _user = pid
    elif _user != pid:
        raise SetupError(
            f"this process was forked from one (pid {_user}) that had begun to use a bundle or a "
            "gallery, and a fork has none of their threads; load them after the fork: gunicorn "
            "without preloading, multiprocessing with start method 'spawn', Celery in "
            "worker_process_init; see docs/guides/processes.md"
        )


class OneProcess:
    """Base of objects that belong to one process and are loaded anew in every other."""

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            UsageError: Always; says what to do.
        """
        raise UsageError(
            f"a {type(self).__name__} cannot be pickled or copied; load it in the process that "
            "uses it, threads may share one (docs/guides/processes.md)"
        )


def keep_in_forks(held: Any) -> None:
    """Never free an object in a fork: its destructor would wait for threads that are not there."""
    _kept.add(held)


class _LanceShutdown:
    """Equals the function that LanceDB runs at exit, which it does not export."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return getattr(other, "__name__", None) == "shutdown_runtime" and str(
            getattr(other, "__module__", None)
        ).startswith("lancedb")


def _in_child() -> None:
    if _user is None:
        return
    for held in list(_kept):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    # At exit LanceDB waits for its threads, for ever or some seconds (0.40); here are none.
    atexit.unregister(_LanceShutdown())  # type: ignore[arg-type]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
