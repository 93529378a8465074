"""From nothing to the first hits: a fresh process that imports, loads and searches once."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from itr_deploy.benchmarking.report import ColdStart
from itr_deploy.errors import SetupError
from itr_deploy.runtime.encoding.regions import Regions

STARTS = 3
"""Number of processes that are started; the median of each figure is taken."""

# Nothing of the package is imported before the clock starts. The path is the caller's, so the same
# packages are found. The answer is the last line, because libraries also print to standard output.
CHILD = """
import json, sys
from time import perf_counter
path, load, search, image = json.loads(sys.argv[1])
sys.path[:] = path
marks = [perf_counter()]
import itr_deploy
marks.append(perf_counter())
retriever = itr_deploy.Retriever.load(**load)
marks.append(perf_counter())
if image is not None:
    import numpy
    read = numpy.load(image)
    search["image"] = read if image.endswith(".npy") else itr_deploy.Regions(**read)
hits = retriever.search(**search)
marks.append(perf_counter())
from itr_deploy.evaluation.data.memory import peak_memory
seconds = [after - before for before, after in zip(marks, marks[1:])]
answer = dict(zip(("import", "load", "first_search"), seconds), total=marks[-1] - marks[0])
print("\\n" + json.dumps({"seconds": answer, "hits": len(hits), "peak_memory": peak_memory()}))
"""


def cold_start(load: dict[str, Any], search: dict[str, Any], query: Any) -> ColdStart:
    """Start `STARTS` processes, one after the other, with the files in the system's cache.

    Args:
        load: Arguments of `Retriever.load`, all of them JSON values.
        search: Arguments of `Retriever.search` besides the query.
        query: A text, or an image: a picture, its regions' features, or `Regions` of it.

    Raises:
        SetupError: The process failed, although this one can load the same.
    """
    with tempfile.TemporaryDirectory(prefix="itr-deploy-bench-") as folder:
        image = None
        if isinstance(query, str):
            search = {**search, "query": query}
        elif isinstance(query, Regions):
            image = str(Path(folder) / "query.npz")
            given = {name: value for name, value in vars(query).items() if value is not None}
            np.savez(image, **given)
        else:
            image = str(Path(folder) / "query.npy")
            np.save(image, query)
        call = json.dumps([sys.path, load, search, image])
        answers = [_start(call) for _ in range(STARTS)]
    peaks = [answer["peak_memory"] for answer in answers]
    return ColdStart(
        processes=STARTS,
        seconds={
            name: statistics.median(answer["seconds"][name] for answer in answers)
            for name in answers[0]["seconds"]
        },
        hits=answers[0]["hits"],
        peak_memory=None if None in peaks else int(statistics.median(peaks)),
    )


def _start(call: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CHILD, call], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = [f"exit code {done.returncode}", *done.stderr.strip().splitlines()][-1]
        raise SetupError(f"a fresh process did not come to its first search: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
