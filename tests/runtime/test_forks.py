from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itr_deploy.runtime.gallery import Gallery

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")

FORKING = Path(__file__).parents[1] / "support" / "forking.py"


def forked(bundle: Path, gallery: Gallery, state: str, threads: int, forks: int) -> dict:
    command = [sys.executable, FORKING, bundle, gallery.path, state, str(threads), str(forks)]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(ended: dict, forks: int) -> None:
    assert sum(sum(ways.values()) for ways in ended.values()) == forks
    assert ended.pop("nothing").keys() <= {"0"}
    assert {way for ways in ended.values() for way in ways} == {"refused"}, ended


def test_a_fork_of_a_service_is_refused_in_one_line_and_ends(
    bundle: Path, galleries: dict[str, Gallery]
) -> None:
    check(forked(bundle, galleries["image-float16"], "searched", threads=2, forks=10), 10)


@pytest.mark.full
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("state", ["loaded", "searched"])
def test_no_fork_hangs_or_ends_by_a_signal(
    bundle: Path, galleries: dict[str, Gallery], state: str, threads: int
) -> None:
    check(forked(bundle, galleries["image-float16"], state, threads, forks=50), 50)


OWN = """
import os, sys, warnings
warnings.filterwarnings("ignore")
from itr_deploy import Retriever, Matcher, Gallery
import lancedb, onnxruntime
for _ in range(3):
    child = os.fork()
    if not child:
        retriever = Retriever.load(*sys.argv[1:3], threads=2)
        print(len(retriever.search("a red circle", k=2)), flush=True)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_what_is_loaded_after_the_fork_searches(
    bundle: Path, galleries: dict[str, Gallery]
) -> None:
    command = [sys.executable, "-c", OWN, bundle, galleries["image-float16"].path]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["2", "0"] * 3, done.stderr


REFUSED = """
import os, sys
from itr_deploy import Matcher, SetupError
matcher = Matcher.load(sys.argv[1])
matcher.encode_texts(["a dog"])
child = os.fork()
if not child:
    try:
        matcher.encode_texts(["a dog"])
    except SetupError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_the_error_says_where_to_load_instead(bundle: Path) -> None:
    command = [sys.executable, "-c", REFUSED, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    (line,) = done.stdout.splitlines()
    for remedy in ("gunicorn without preloading", "'spawn'", "worker_process_init"):
        assert remedy in line
