"""Steps of the GPU check: each within its time, none stops the next, results after each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.gpu_check.running import LOG, RESULTS, Budget, Results, json_in, run_step

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path, {"device": "cpu"})


@pytest.fixture
def run(results: Results) -> Run:
    def step(name: str, code: str, *, limit: float = 30, budget: float = 60) -> dict[str, Any]:
        return run_step(
            results,
            name,
            "a step",
            [sys.executable, "-c", textwrap.dedent(code)],
            limit=limit,
            budget=Budget(budget),
            environment=os.environ,
        )

    return step


def written(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / RESULTS).read_bytes())["steps"]


def test_results_are_on_disk_before_and_after_every_step(run: Run, tmp_path: Path) -> None:
    run("first", "print('{\"answer\": 42}')")
    seen = run("second", f"print(open({str(tmp_path / RESULTS)!r}).read())")["found"][0]["steps"]
    assert [(step["name"], step["state"]) for step in seen] == [
        ("first", "ok"),
        ("second", "running"),
    ]
    assert seen[0]["found"] == [{"answer": 42}]
    assert [step["state"] for step in written(tmp_path)] == ["ok", "ok"]
    # A table can be made of them, and nothing else is left.
    assert {path.name for path in tmp_path.iterdir()} == {RESULTS, LOG}


def test_a_step_that_fails_gives_its_last_line_and_the_next_is_run(run: Run) -> None:
    failed = run(
        "failing",
        """
        import sys
        print('{"before": 1}')
        sys.exit('something\\nerror: the device is missing; install it')
        """,
    )
    assert failed["state"] == "failed"
    assert failed["exit"] == 1
    assert failed["reason"] == "error: the device is missing; install it"
    assert failed["found"] == [{"before": 1}]
    assert run("next", "")["state"] == "ok"


def test_a_step_that_crashes_gives_its_signal(run: Run) -> None:
    crashed = run("crashing", "import os; os.abort()")
    assert (crashed["state"], crashed["reason"]) == ("failed", "SIGABRT")


def test_a_command_that_is_not_there_is_a_failed_step(results: Results) -> None:
    nowhere = ["/nowhere/python"]
    options: dict[str, Any] = {"limit": 9, "budget": Budget(60), "environment": {}}
    step = run_step(results, "missing", "a step", nowhere, **options)
    assert step["state"] == "failed"
    assert "/nowhere/python" in step["reason"]


def test_a_step_over_its_time_is_stopped_with_all_that_it_started(run: Run, tmp_path: Path) -> None:
    child = tmp_path / "child"
    over = run(
        "hanging",
        f"""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
        print('{{"row": 1}}', flush=True)
        print("still at it", file=sys.stderr, flush=True)
        open({str(child)!r}, "w").write(str(child.pid))
        time.sleep(99)
        """,
        limit=2,
    )
    assert over["state"] == "over its time"
    assert over["reason"] == "stopped after 2 s: still at it"
    assert over["found"] == [{"row": 1}]
    assert not is_running(int(child.read_text()))
    assert run("next", "")["state"] == "ok"


def is_running(process: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


def test_nothing_begins_when_the_time_for_all_is_spent(run: Run, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    step = run("late", f"open({str(begun)!r}, 'w')", budget=1)
    assert (step["state"], step["reason"]) == (
        "not run",
        "no time was left of the 1 s for all steps",
    )
    assert not begun.exists()


def test_a_check_that_is_ended_keeps_what_it_has(tmp_path: Path) -> None:
    code = f"""
    import os, pathlib, sys
    from tools.gpu_check.running import Budget, Results, ends_in_order, run_step
    results = Results(pathlib.Path({str(tmp_path)!r}), {{}})
    def step(code):
        command = [sys.executable, "-c", code]
        run_step(results, "one", "", command, limit=60, budget=Budget(99), environment=os.environ)
    def steps():
        step("")
        step("print('{{\\"row\\": 1}}', flush=True); import time; time.sleep(99)")
    ends_in_order(steps)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    printed = tmp_path / ".one.out"
    for _ in range(300):
        if printed.exists() and printed.read_text() and len(written(tmp_path)) == 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) != 0
    first, second = written(tmp_path)
    assert first["state"] == "ok"
    assert (second["state"], second["found"]) == ("interrupted", [{"row": 1}])


def test_json_is_found_between_what_libraries_print() -> None:
    text = 'Failed to load {x}\n{"a": 1}\n{broken\n{\n "b": {"c": 2}\n}\nbye {"d": 3}\n'
    assert list(json_in(text)) == [{"a": 1}, {"b": {"c": 2}}]
