"""The parts of `benchmarks.peers` that are ours; no peer need be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.installed import distributions, installed_bytes
from benchmarks.peers.registry import PEERS, Peer, missing_row
from benchmarks.peers.running import answer, run
from benchmarks.peers.scoring import check_agrees
from benchmarks.peers.table import Row, cell, markdown, show, wins
from benchmarks.peers.world import TOP, World, kept_of_top

OURS = Row("itr-deploy, default", "matchers", "1", {"pairs_per_second": 100.0, "ms_1000": 20.0})
FASTER = Row("other", "matchers", "2", {"pairs_per_second": 200.0, "ms_1000": 30.0}, ("ms_1000",))
ABSENT = Peer("absent", "matchers", "nowhere:Nothing", ("no-such-package",), "pip install it")


def test_a_peer_that_wins_a_column_is_marked_in_that_column_alone() -> None:
    ahead = wins(FASTER, [OURS])
    assert ahead == ["pairs_per_second"]
    assert cell(FASTER, "pairs_per_second", ahead) == "200*"
    assert cell(FASTER, "ms_1000", ahead) == "~30.0"


def test_a_peer_has_to_beat_every_row_of_ours_by_more_than_runs_differ() -> None:
    slightly = Row("other", "matchers", "2", {"ms_1000": 19.9})
    quicker = Row("itr-deploy, other", "matchers", "1", {"ms_1000": 5.0})
    assert not wins(slightly, [OURS])
    assert wins(Row("other", "matchers", "2", {"ms_1000": 10.0}), [OURS]) == ["ms_1000"]
    assert not wins(Row("other", "matchers", "2", {"ms_1000": 10.0}), [OURS, quicker])


def test_ours_never_wins_over_itself() -> None:
    assert not wins(Row("itr-deploy, fast", "matchers", "1", {"ms_1000": 1.0}), [OURS])


def test_the_table_has_versions_figures_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    show([OURS, Row("third", "matchers", "3", note="could not be done"), FASTER])
    told = capsys.readouterr().out
    assert "pairs/s" in told
    assert "200*" in told
    assert "~30.0" in told
    assert "third: could not be done" in told
    assert "% of exact" not in told  # no row has it


def test_every_group_has_a_table_of_its_own_on_the_page() -> None:
    told = markdown([OURS, Row("service", "HTTP", "3", {"requests_per_second": 5.0})])
    assert "| matchers | pairs/s | ms, 1,000 |" in told
    assert "| HTTP | requests/s |" in told
    assert "| service 3 | 5 |" in told


def test_a_row_survives_its_way_between_processes() -> None:
    assert Row.from_json(FASTER.to_json()) == FASTER


def test_a_peer_that_is_not_installed_gets_a_row_that_says_how_to() -> None:
    row = missing_row(ABSENT)
    assert not row.figures
    assert row.note == "not installed: no-such-package; pip install it"


def test_a_peer_whose_packages_conflict_is_pointed_to_another_python() -> None:
    peer = Peer("absent", "matchers", "nowhere:Nothing", ("no-such-package",), "pip", "apart")
    assert missing_row(peer).note.endswith("--python apart=ITS/bin/python")


def test_a_peer_that_fails_gets_a_row_with_its_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(Peer("odd", "matchers", "nowhere:Nothing", ("numpy",)), World(tmp_path), "measure")
    row = Row.from_json(capsys.readouterr().out.removeprefix("row: "))
    assert row.note == "measure: ModuleNotFoundError: No module named 'nowhere'"


def test_a_python_that_is_not_there_is_a_row_too(tmp_path: Path) -> None:
    peer, python = PEERS["itr-deploy"], str(tmp_path / "python")
    row = run("itr-deploy", peer, World(tmp_path), {"itr-deploy": python}, "measure", 10)
    assert row.note == f"{python}: No such file or directory"


def test_scores_that_are_not_ours_are_refused() -> None:
    ours = np.ones((3, 2), np.float32)
    check_agrees(ours + np.float32(1e-5), ours)
    with pytest.raises(ValueError, match=r"differ from ours by up to 1\.0e-02"):
        check_agrees(ours + np.float32(0.01), ours)
    with pytest.raises(ValueError, match="nan"):
        check_agrees(np.full_like(ours, np.nan), ours)


def test_what_a_search_keeps_is_the_mean_over_queries() -> None:
    scores = np.arange(20, dtype=np.float32)[:, None].repeat(2, axis=1)
    best = np.arange(20)[::-1][:TOP]
    half = np.concatenate([best[: TOP // 2], np.arange(TOP - TOP // 2)])
    assert kept_of_top(scores, np.stack([best, half])) == pytest.approx(0.75)


def test_what_is_installed_is_counted_with_what_it_requires() -> None:
    found = distributions(["itr-deploy[cpu]"])
    assert {"itr-deploy", "onnxruntime", "lancedb", "numpy"} <= set(found)
    assert "torch" not in found
    assert installed_bytes("itr-deploy[cpu]") > installed_bytes("onnxruntime") > 0
    assert installed_bytes("no-such-package") == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--only", "nobody"), "invalid choice: 'nobody'"),
        (("--step", "measure"), "--step measure needs --world"),
        (("--python", "venv/bin/python"), "expected NAME=PATH"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(options: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr
