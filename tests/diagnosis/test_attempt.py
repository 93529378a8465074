from __future__ import annotations

import os
import sys
import time
from typing import Any

from itr_deploy.diagnosis.attempt import attempt
from itr_deploy.errors import SetupError


def told(first: str, second: float) -> Any:
    print("noise of a library")
    print("a warning", file=sys.stderr)
    return {"first": first, "second": second}


def raises(kind: str) -> None:
    if kind == "ours":
        raise SetupError("not there; install it")
    raise ValueError("the first line\nthe second")


def crashes() -> None:
    os.abort()


def leaves(code: int) -> None:
    os._exit(code)


def hangs() -> None:
    time.sleep(60)


def path() -> list[str]:
    return sys.path


def test_what_is_returned_comes_back_whatever_else_is_printed() -> None:
    tried = attempt(told, "a", 0.5)
    assert tried.answer == {"first": "a", "second": 0.5}
    assert tried.problem is None
    assert "a warning" in tried.log


def test_what_is_raised_is_one_line() -> None:
    assert attempt(raises, "other").problem == "ValueError: the first line"
    assert attempt(raises, "ours").problem == "not there; install it"


def test_a_crash_is_named() -> None:
    tried = attempt(crashes)
    assert tried.answer is None
    assert tried.problem == "the process crashed: SIGABRT"


def test_leaving_without_an_answer_is_a_problem_whatever_the_exit_code() -> None:
    for code in (0, 3):
        problem = attempt(leaves, code).problem
        assert problem == f"the process ended with exit code {code} and without an answer"


def test_a_hang_is_ended() -> None:
    begun = time.monotonic()
    assert attempt(hangs, timeout=2).problem == "no answer within 2 s"
    assert time.monotonic() - begun < 20


def test_packages_are_looked_for_where_the_caller_looks() -> None:
    assert attempt(path).answer == sys.path
