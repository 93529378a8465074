"""evaluate, killed or interrupted while it scores, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.evaluation.scores.grid import Grid
from tests.support import items

PROGRAM = "from itr_deploy.cli.main import main; main()"


def write_data(root: Path, images: int, per: int = 5) -> Path:
    root.mkdir()
    np.save(root / "test_ims.npy", items.images(images))
    (root / "test_caps.txt").write_text("\n".join(items.captions(images * per)) + "\n")
    return root


def start(bundle: Path, data: Path, output: Path) -> subprocess.Popen[str]:
    words = ("evaluate", bundle, "--data", data, "--output", output, "--save-scores", "--json")
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def wait_for_tiles(process: subprocess.Popen[str], output: Path, count: int) -> None:
    journal, deadline = output / "scores/tiles.txt", time.monotonic() + 300
    while time.monotonic() < deadline:
        if journal.exists() and len(journal.read_text().splitlines()) >= count:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError("no tiles in five minutes")


def check_resumed(bundle: Path, data: Path, output: Path, images: int) -> None:
    """The same command ends well and computes just the tiles that were not finished."""
    grid = Grid(**json.loads((output / "scores/plan.json").read_text())["grid"])
    lines = (output / "scores/tiles.txt").read_text().splitlines()
    tiles = [int(line.split()[0]) for line in lines]
    before = np.load(output / "scores/scores.npy")
    again = start(bundle, data, output)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    report = json.loads(out)
    pairs = images * images * 5
    assert 0 < report["run"]["pairs_scored"] == pairs - sum(map(grid.size, tiles)) < pairs
    after = np.load(output / "scores/scores.npy")
    for number in tiles:
        np.testing.assert_array_equal(after[grid.tile(number)], before[grid.tile(number)])


@pytest.mark.slow
def test_a_killed_evaluation_of_a_million_pairs_goes_on_where_it_was(
    bundle: Path, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data", 450)
    process = start(bundle, data, tmp_path / "out")
    wait_for_tiles(process, tmp_path / "out", 10)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out/evaluation.json").exists()
    check_resumed(bundle, data, tmp_path / "out", 450)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_evaluation_says_that_it_can_go_on_and_does(
    bundle: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    data = write_data(tmp_path / "data", 250)
    process = start(bundle, data, tmp_path / "out")
    wait_for_tiles(process, tmp_path / "out", 2)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "312,500 pairs; the same command goes on from there" in err.replace("\n", " ")
    assert "Traceback" not in err
    check_resumed(bundle, data, tmp_path / "out", 250)
