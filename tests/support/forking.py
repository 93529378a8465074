"""Forks of a process that has loaded a retriever, one after the other; run as a program.

Prints a line of JSON: by what the children did, how each ended: ``refused`` by a `SetupError`, by
an exit code, by a signal, or ``hangs``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import SetupError

REFUSED = 4
HANGS = 60.0
"""Seconds, many times what a child needs."""


def main(bundle: str, place: str, state: str, threads: int, forks: int) -> None:
    warnings.filterwarnings("ignore")
    retriever = Retriever.load(bundle, place, threads=threads)
    matcher, on_disk = retriever.matcher, Retriever.load(bundle, place, resident=False)
    regions = np.ones((1, 5, matcher.bundle.manifest.images.feature_dim), np.float32)
    texts, images = None, None
    if state == "searched":
        retriever.search("a red circle")
        on_disk.search("a red circle")
        texts, images = matcher.encode_texts(["a dog"] * 9), matcher.encode_images(regions)
    uses: dict[str, Callable[[], object]] = {
        "search": lambda: retriever.search("a red circle"),
        "search on disk": lambda: on_disk.search("a red circle"),
        "search anew": lambda: Retriever.load(bundle, place).search("a red circle"),
        "add": lambda: Gallery.open(place, matcher).add(["new"], regions),
        "refresh": retriever.refresh,
        "count": retriever.gallery.count,
    }
    if texts is not None:
        uses["encode"] = lambda: matcher.encode_texts(["a dog"] * 99)
        uses["score"] = lambda: matcher.score(texts=texts, images=images)
        uses["encode anew"] = lambda: Matcher.load(bundle).encode_images(regions)
    ended = {name: Counter[str]() for name in [*uses, "nothing"]}
    for number in range(forks):
        name = [*ended][number % len(ended)]
        child = os.fork()
        if not child:
            # Half of them end as a program does, whose objects are then freed.
            leave = sys.exit if (number + number // len(ended)) % 2 else os._exit
            try:
                uses.get(name, lambda: None)()
            except SetupError:
                leave(REFUSED)
            leave(0)
        ended[name][_wait(child)] += 1
    print(json.dumps(ended))


def _wait(child: int) -> str:
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "refused" if code == REFUSED else str(code)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
