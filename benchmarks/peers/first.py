"""A first hit in a fresh process: how long it takes, and what that process needs in memory.

    python -m benchmarks.peers.first NAME WORLD

is that process: it opens a peer with all images of the published sizes, answers one query, says so,
answers a few more and prints its peak memory in bytes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.world import CAPTIONS, IMAGES, World

STARTS, MORE, HIT = 3, 5, "hit"


def first_hit(name: str, world: World) -> tuple[float, float]:
    """Seconds to the first hit, the median of `STARTS` processes, and peak memory in bytes."""
    found = [started(name, world) for _ in range(STARTS)]
    seconds, peaks = zip(*found, strict=True)
    return statistics.median(seconds), max(peaks)


def started(name: str, world: World, **variables: str) -> tuple[float, float]:
    """The same of one process, with variables in its environment.

    Raises:
        RuntimeError: It did not answer.
    """
    command = [sys.executable, "-m", "benchmarks.peers.first", name, str(world.folder)]
    environment = {**os.environ, **variables}
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        seconds, lines = None, []
        for line in one.stdout:
            if line.strip() == HIT:
                seconds = time.perf_counter() - begun
            lines.append(line)
    if one.returncode or seconds is None:
        raise RuntimeError(f"the process of the cold start ended with {one.returncode}, see above")
    return seconds, float(lines[-1])


def main() -> None:
    """Be that process."""
    name, world = sys.argv[1], World(Path(sys.argv[2]))
    from benchmarks.peers.registry import PEERS

    work = PEERS[name].begun()
    opened = work.open(world.published, world.of(name) / "published", IMAGES)  # type: ignore[attr-defined]
    opened.search(CAPTIONS)
    print(HIT, flush=True)
    for number in range(MORE):
        opened.search(CAPTIONS + 1 + number)
    from itr_deploy.evaluation.data.memory import peak_memory

    print(peak_memory() or 0, flush=True)


if __name__ == "__main__":
    main()
