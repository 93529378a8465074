"""How many threads compute where nobody says: what the machine, its limits and the user allow."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from itr_deploy.errors import UsageError

log = logging.getLogger(__name__)

VARIABLE = "ITR_DEPLOY_THREADS"
MOST_THREADS = 1024
"""More than any machine has cores for; a system takes minutes to start some ten thousands."""
OPENMP = "OMP_NUM_THREADS"


def default_threads() -> int:
    """Threads that compute on the CPU where none are given.

    ``$ITR_DEPLOY_THREADS`` if set, else ``$OMP_NUM_THREADS`` if set, else `available_cores`.

    Raises:
        UsageError: ``$ITR_DEPLOY_THREADS`` is not a whole number from 1 to `MOST_THREADS`.
    """
    if chosen := os.environ.get(VARIABLE):
        if (number := _whole(chosen)) is None:
            raise UsageError(
                f"{VARIABLE}={chosen[:40]!r} must be a whole number from 1 to {MOST_THREADS}; "
                "unset it"
            )
        return number
    if given := os.environ.get(OPENMP):
        # OpenMP takes one number a level of nesting, and ignores what it cannot read.
        if number := _whole(given.split(",")[0]):
            return number
        log.warning("%s=%r is not a number of threads, and ignored", OPENMP, given)
    return available_cores()


def use_threads(threads: int) -> None:
    """Compute on this many threads from now on where none are given, in new processes too.

    Libraries that have not been imported yet read ``$OMP_NUM_THREADS`` and compute on as many.
    """
    os.environ[VARIABLE] = os.environ[OPENMP] = str(threads)


def keep_to_quota() -> None:
    """Make BLAS and PyTorch, if not imported yet, keep to a quota that they do not know of."""
    cores = available_cores()
    if OPENMP not in os.environ and cores < allowed_cores():
        os.environ[OPENMP] = str(cores)


@lru_cache(maxsize=1)
def multiplies_bytes() -> bool:
    """Whether the CPU adds products of bytes four at a time, as VNNI and ARM's dot products do.

    Elsewhere products of bytes are about as fast as of floats. Where it is not known, it is False.
    """
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, flags = line.partition(":")
            if name.strip().lower() in ("flags", "features"):
                return not {"avx512_vnni", "avx_vnni", "asimddp"}.isdisjoint(flags.split())
    return False


def available_cores() -> int:
    """Cores that this process may use: `allowed_cores`, or the cgroup's quota, rounded up."""
    quota = cpu_quota()
    allowed = allowed_cores()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def allowed_cores() -> int:
    """Cores that the process may run on, or all of the machine where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the process's cgroups allow it, None without a limit.

    Containers are limited so (``docker --cpus``, limits in Kubernetes). All cores stay visible.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    limits = [limit for line in lines for limit in _limits(root / "sys/fs/cgroup", line)]
    return min(limits, default=None)


def _limits(cgroups: Path, line: str) -> Iterator[float]:
    """The limits of one of a process's cgroups, ``hierarchy:controllers:path``, and its parents."""
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if controllers and "cpu" not in controllers.split(","):
        return
    place = cgroups / "cpu" if controllers else cgroups
    # In a container the path may be the host's, of which only the mount's root is seen.
    inside = [Path(*parts) for parts in _prefixes(Path(path.lstrip("/")).parts)]
    for directory in dict.fromkeys([place, *(place / part for part in inside)]):
        with suppress(OSError, ValueError, IndexError):
            if controllers:
                quota = int((directory / "cpu.cfs_quota_us").read_text())
                period = int((directory / "cpu.cfs_period_us").read_text())
            else:
                words = (directory / "cpu.max").read_text().split()
                quota, period = -1 if words[0] == "max" else int(words[0]), int(words[1])
            if quota > 0 and period > 0:
                yield quota / period


def _prefixes(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [parts[:length] for length in range(1, len(parts) + 1) if ".." not in parts]


def _whole(text: str) -> int | None:
    short = text.strip()
    if not short.isdecimal() or len(short) > 10:
        return None
    return int(short) if 1 <= int(short) <= MOST_THREADS else None
