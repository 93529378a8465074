"""Functions to run in a separate process: they print, fail, crash and hang."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itr_deploy.errors import SetupError


def told(first: str, second: float) -> dict[str, Any]:
    print("noise of a library")
    os.write(1, b"noise of its C code\n")
    print("a warning", file=sys.stderr)
    return {"first": first, "second": second}


def raises(kind: str) -> None:
    if kind == "ours":
        raise SetupError("not there; install it")
    if kind == "exit":
        sys.exit(3)
    raise ValueError("the first line\nthe second")


def returns_what_cannot_be_sent() -> Any:
    return threading.Lock()


def raises_what_is_unknown_elsewhere() -> None:
    class OnlyThereError(Exception):
        def __init__(self, first: int, second: int) -> None:
            super().__init__("it is broken")

    raise OnlyThereError(1, 2)


def crashes() -> None:
    os.abort()


def leaves(code: int) -> None:
    os._exit(code)


def hangs(ids: str, with_child: bool) -> None:
    """Hang, after writing the ids of this process and of one that it started to a file."""
    numbers = [os.getpid()]
    if with_child:
        numbers.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"]).pid)
    path = Path(ids)
    path.with_suffix(".new").write_text(" ".join(map(str, numbers)))
    path.with_suffix(".new").rename(path)
    time.sleep(99)


def search_path() -> list[str]:
    return sys.path


def doubled(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: 2 * array for name, array in arrays.items()}


kept: list[bytes] = []


def keep(size: int) -> None:
    kept[:] = [b"x" * size]
