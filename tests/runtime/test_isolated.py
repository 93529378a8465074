"""Calls in separate processes; everything here really crashes, hangs or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from loky import ProcessPoolExecutor

from itr_deploy.errors import SetupError
from itr_deploy.runtime.isolated import IsolatedProcess, IsolationError, _logged, isolated
from tests.support import calls

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
"""Much longer than a process takes to end."""


def ended(number: int) -> bool:
    """Whether a process is gone, or goes soon."""
    try:
        psutil.Process(number).wait(SECONDS)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def wait_for(path: Path) -> str:
    """What a file holds once it is there."""
    for _ in range(20 * SECONDS):
        if path.exists():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_what_is_returned_comes_back_whatever_else_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    outcome = isolated(calls.told, "a", 0.5)
    assert outcome.answer == {"first": "a", "second": 0.5}
    assert outcome.problem is None
    assert outcome.log == "a warning\n"
    assert capfd.readouterr() == ("", "")


def test_what_is_raised_is_one_line() -> None:
    assert isolated(calls.raises, "other").problem == "ValueError: the first line"
    assert isolated(calls.raises, "ours").problem == "not there; install it"
    assert isolated(calls.raises, "exit").problem == "SystemExit: 3"


def test_an_error_whose_class_is_not_here_is_one_line() -> None:
    problem = isolated(calls.raises_what_is_unknown_elsewhere).problem
    assert problem == "OnlyThereError: it is broken"


def test_a_result_that_cannot_be_sent_is_a_problem() -> None:
    problem = isolated(calls.returns_what_cannot_be_sent).problem
    assert problem is not None
    assert "pickle" in problem
    assert "\n" not in problem


def test_a_system_that_gives_no_process_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/dev/shm")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", refused)
    assert isolated(calls.told, "a", 0.5).problem == (
        "PermissionError: [Errno 13] Permission denied: '/dev/shm'"
    )


def test_a_crash_is_named() -> None:
    outcome = isolated(calls.crashes)
    assert outcome.answer is None
    assert outcome.problem == "the process crashed: SIGABRT"


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_without_an_answer_is_a_problem_whatever_the_exit_code(code: int) -> None:
    problem = isolated(calls.leaves, code).problem
    assert problem == f"the process ended with exit code {code} and without an answer"


def test_a_hang_is_ended_and_so_is_what_it_started(tmp_path: Path) -> None:
    problem = isolated(calls.hangs, str(tmp_path / "ids"), True, timeout=8).problem
    assert problem == "no answer within 8 s"
    started = [int(number) for number in (tmp_path / "ids").read_text().split()]
    assert len(started) == 2
    assert all(ended(number) for number in started)


def test_packages_are_looked_for_where_the_caller_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert isolated(calls.search_path).answer == sys.path


def test_nothing_of_it_needs_to_lie_where_python_itself_looks() -> None:
    """As where a program that embeds Python brings its packages along."""
    code = """
import sys
sys.path[:] = sys.argv.pop().split(os.pathsep)
from itr_deploy.runtime.isolated import isolated
from tests.support.calls import told
print(isolated(told, "a", 0.5))
"""
    done = subprocess.run(
        [sys._base_executable, "-c", f"import os{code}", os.pathsep.join([str(ROOT), *sys.path])],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "answer={'first': 'a', 'second': 0.5}, problem=None" in done.stdout, done


class TestIsolatedProcess:
    def test_it_takes_one_call_after_the_other_until_its_block_ends(self) -> None:
        with IsolatedProcess() as process:
            number = process.call(os.getpid)
            with pytest.raises(SetupError, match=r"^not there; install it$"):
                process.call(calls.raises, "ours")
            with pytest.raises(IsolationError, match=r"^ValueError: the first line$"):
                process.call(calls.raises, "other")
            assert process.call(os.getpid) == number != os.getpid()
        assert ended(number)

    def test_after_a_crash_every_call_tells_of_it(self) -> None:
        with IsolatedProcess() as process:
            os.kill(process.call(os.getpid), signal.SIGKILL)
            for _ in range(2):
                with pytest.raises(IsolationError, match=r"^the process crashed: SIGKILL$"):
                    process.call(os.getpid)

    def test_what_it_prints_is_no_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        with IsolatedProcess() as process:
            process.call(calls.told, "a", 0.5)
        out, err = capfd.readouterr()
        assert out == ""
        assert "noise of its C code" in err

    def test_arrays_come_back_whole(self) -> None:
        array = np.arange(5 << 20, dtype=np.float32).reshape(5, -1)
        with IsolatedProcess() as process:
            found = process.call(calls.doubled, {"a": array})
        np.testing.assert_array_equal(found["a"], 2 * array)

    @pytest.mark.slow
    def test_arrays_of_hundreds_of_megabytes_come_back_whole(self) -> None:
        array = np.ones(80 << 20, np.float32)
        with IsolatedProcess() as process:
            found = process.call(calls.doubled, {"a": array})
        assert (found["a"] == 2).all()

    def test_a_process_that_grows_is_the_same_still(self) -> None:
        """loky would start another in its place, without what it holds."""
        with IsolatedProcess() as process:
            number = process.call(os.getpid)
            for _ in range(2):
                time.sleep(1.1)  # loky measures once a second
                process.call(calls.keep, 400 << 20)
            assert process.call(os.getpid) == number


PROGRAM = """
import sys
from itr_deploy.runtime.isolated import isolated
from tests.support.calls import hangs
isolated(hangs, sys.argv[1], False)
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_called(stop: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of a terminal, the other signals to the one that is named."""
    ids = tmp_path / "ids"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ids)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    numbers = [int(number) for number in wait_for(ids).split()]
    if stop == signal.SIGINT:
        os.killpg(program.pid, stop)
    else:
        program.send_signal(stop)
    # The pipes end with the last process that holds them.
    out, err = program.communicate(timeout=SECONDS)
    assert all(ended(number) for number in numbers)
    assert program.returncode == -stop
    assert out == ""
    assert err.count("Traceback") == (1 if stop == signal.SIGINT else 0), err


UNGUARDED = """
import sys
from itr_deploy.runtime.isolated import isolated
from tests.support.calls import told
print("run", sys.argv[1])
print(isolated(told, "a", 0.5).answer)
"""


@pytest.mark.parametrize("way", ["a file", "standard input", "-c"])
def test_a_script_without_a_guard_runs_once(way: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = {"a file": [str(script)], "standard input": ["-"], "-c": ["-c", UNGUARDED]}[way]
    done = subprocess.run(
        [sys.executable, *command, "an argument"],
        input=UNGUARDED if way == "standard input" else "",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout == "run an argument\n{'first': 'a', 'second': 0.5}\n", done.stderr


def test_it_works_where_no_temporary_file_can_be_written() -> None:
    resource = pytest.importorskip("resource")
    with IsolatedProcess() as process:
        process.call(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
        answer, log = process.call(_logged, calls.told, ("a", 0.5))
    assert answer == {"first": "a", "second": 0.5}
    assert log == ""
