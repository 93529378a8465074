"""Verbs that are killed at random moments: nothing is lost, and the same command ends well."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery
from itr_deploy.bundle.leftovers import is_leftover
from itr_deploy.bundle.store import read_bundle
from tests.faults.trials import report, share
from tests.support import items
from tests.support.exports import Bundles
from tests.support.files import tree
from tests.support.golden import FULL

IMAGES, PER = 40, 5


@dataclass(frozen=True)
class Killed:
    """A verb under test.

    Attributes:
        words: The command line; ``OUT`` is replaced by the output.
        valid: Raises unless an output is a whole one.
        in_place: Whether the verb changes its output instead of making it.
    """

    words: tuple[object, ...]
    valid: Callable[[Path], object]
    in_place: bool = False

    def command(self, output: Path) -> list[str]:
        given = [str(output if word == "OUT" else word) for word in self.words]
        code = "from itr_deploy.cli.main import main; main()"
        return [sys.executable, "-c", code, *given]


def _gallery(output: Path) -> None:
    assert len(Gallery.open(output).ids()) == IMAGES


def _evaluated(output: Path) -> None:
    """Unfinished ones are whole too: they are resumed."""
    if (output / "evaluation.json").exists():
        itr_deploy.EvaluationReport.model_validate_json((output / "evaluation.json").read_bytes())


@pytest.fixture(scope="module")
def verbs(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Killed]:
    data = tmp_path_factory.mktemp("data")
    np.save(data / "test_ims.npy", items.images(IMAGES))
    (data / "test_caps.txt").write_text("\n".join(items.captions(IMAGES * PER)) + "\n")
    bundle = bundles.path(FULL)
    tuned = ("tune", "OUT", "--data", data, "--split", "test", "--work", data / "work")
    given = ("--data", data, "--output", "OUT")
    return {
        "index": Killed(
            ("index", bundle, *given, "--force"), lambda path: Gallery.open(path).ids()
        ),
        "evaluate": Killed(("evaluate", bundle, *given), _evaluated),
        "tune": Killed(tuned, read_bundle, True),
        "export": Killed(("export", *FULL.export_words, "--output", "OUT", "--force"), read_bundle),
        "ensemble": Killed(("ensemble", bundle, bundle, "--output", "OUT", "--force"), read_bundle),
        "build-engine": Killed(
            ("build-engine", "OUT", "--target", "tensorrt-rtx", "--graphs", "image_encoder"),
            lambda path: (read_bundle(path), itr_deploy.inspect(path)),
            True,
        ),
    }


def duration(verb: Killed, output: Path) -> float:
    began = time.monotonic()
    done = subprocess.run(verb.command(output), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verb.valid(output)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "index",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("evaluate", "tune", "export", "ensemble")
        ),
        pytest.param("build-engine", marks=pytest.mark.full),
    ],
)
def test_a_kill_at_any_moment_loses_nothing(
    name: str, verbs: dict[str, Killed], bundles: Bundles, tmp_path: Path
) -> None:
    if name == "build-engine":
        pytest.importorskip("tensorrt_rtx")
    verb, began, ends = verbs[name], time.monotonic(), Counter[str]()
    whole = tmp_path / "whole" / "out"
    whole.parent.mkdir()
    if verb.in_place:
        shutil.copytree(bundles.path(FULL), whole)
    seconds = duration(verb, whole)
    wanted, number = share(20, least=2), -1
    while ends["killed"] < wanted:
        number += 1
        assert number < 4 * wanted, "hardly a process is killed before it ends"
        rng = random.Random(number)
        output = tmp_path / str(number) / "out"
        output.parent.mkdir()
        if verb.in_place:
            shutil.copytree(bundles.path(FULL), output)
        elif number % 2 and name != "evaluate":
            shutil.copytree(whole, output)
        before = tree(output) if output.exists() else None
        process = subprocess.Popen(
            verb.command(output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        began_one = time.monotonic()
        try:
            code = process.wait(rng.uniform(0.1, 1.0) * seconds)
            # A verb is quicker the second time, and on a machine that has less to do.
            seconds = min(seconds, time.monotonic() - began_one)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        ends["killed" if code == -signal.SIGKILL else "ended before"] += 1
        assert before is None or output.exists(), "what was there is gone"
        if output.exists():
            verb.valid(output)
        if number % 4 == 0:
            duration(verb, output)
            left = [path for path in output.parent.rglob("*") if is_leftover(path.name)]
            assert not left
            ends["run again"] += 1
        shutil.rmtree(output.parent)
    report(f"kill -9 of {name}", ends, began)
