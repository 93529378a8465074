"""evaluate, killed or interrupted between two tiles, in a separate process.

tests/evaluation/scores/test_matrix.py shows that a kill anywhere else loses at most one tile.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.evaluation.scores.grid import Grid
from tests.support import items
from tests.support.command import Outcome, itr_deploy, python

IMAGES, PER = 60, 5
PAIRS = IMAGES * IMAGES * PER
PROGRAM = """
import os, sys
from itr_deploy.cli.main import main
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.scorers import BundleScorer

tiles, number = map(int, sys.argv[1:3])
sys.argv[1:] = sys.argv[3:]
BundleScorer.tile_pairs = 900
write = ScoreMatrix.write

def write_and_stop(matrix, *tile):
    write(matrix, *tile)
    if matrix.tiles_done == tiles:
        os.kill(os.getpid(), number)

ScoreMatrix.write = write_and_stop
main()
"""


@pytest.fixture
def words(bundle: Path, tmp_path: Path) -> tuple[object, ...]:
    """The command, with data of a few tiles."""
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", items.images(IMAGES))
    (data / "test_caps.txt").write_text("\n".join(items.captions(IMAGES * PER)) + "\n")
    output = ("--output", tmp_path / "out", "--save-scores", "--json")
    return ("evaluate", bundle, "--data", data, *output)


def stopped(words: tuple[object, ...], tiles: int, sent: signal.Signals) -> Outcome:
    """The command in a process that the signal stops after so many tiles."""
    return python(PROGRAM, tiles, int(sent), *words)


def check_resumed(words: tuple[object, ...], output: Path, finished: int) -> None:
    """The same command ends well and computes just the tiles that were not finished."""
    grid = Grid(**json.loads((output / "scores/plan.json").read_text())["grid"])
    lines = (output / "scores/tiles.txt").read_text().splitlines()
    tiles = [int(line.split()[0]) for line in lines]
    assert len(tiles) == finished < len(grid)
    before = np.load(output / "scores/scores.npy")
    again = itr_deploy(*words)
    assert again.code == 0, again.err
    scored = again.json["run"]["pairs_scored"]
    assert 0 < scored == PAIRS - sum(map(grid.size, tiles)) < PAIRS
    after = np.load(output / "scores/scores.npy")
    for number in tiles:
        np.testing.assert_array_equal(after[grid.tile(number)], before[grid.tile(number)])


def test_a_killed_evaluation_goes_on_where_it_was(words: tuple, tmp_path: Path) -> None:
    assert stopped(words, 10, signal.SIGKILL).code == -signal.SIGKILL
    assert not (tmp_path / "out/evaluation.json").exists()
    check_resumed(words, tmp_path / "out", 10)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_evaluation_says_that_it_can_go_on_and_does(
    sent: signal.Signals, words: tuple, tmp_path: Path
) -> None:
    outcome = stopped(words, 2, sent)
    assert outcome.code == 130, outcome.err
    said = " ".join(outcome.err.split())
    assert f"of {PAIRS:,} pairs; the same command goes on from there" in said
    assert "Traceback" not in outcome.err
    check_resumed(words, tmp_path / "out", 2)
