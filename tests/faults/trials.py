"""Many trials in processes of their own: what crashes or hangs is a finding, not the end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from itr_deploy.errors import ItrDeployError

Trial = Callable[[int], str]
"""Given a number, tries something that is decided by it alone, and says in a word what came of it.

An error of the package is a good end, any other a finding; so is a word that begins with "WRONG".
"""


@dataclass(frozen=True)
class Finding:
    """A trial that ended as none may."""

    number: int
    said: str


def share(whole: int, least: int = 3) -> int:
    """Trials to make: all of them where ``FAULTS=all`` is set, as by ``make faults``, else few."""
    return whole if os.environ.get("FAULTS") == "all" else max(whole // 20, least)


def run_trials(
    trial: Trial, numbers: Iterable[int], *, seconds: float = 60, setup: Any = None
) -> tuple[Counter[str], list[Finding]]:
    """Run trials one after the other in a process that is started anew when one ends it.

    Args:
        trial: A function of a module; with ``setup`` given it is called with it first.
        numbers: Which to run.
        seconds: How long one may take.
        setup: What every trial needs, pickled to the process.

    Returns:
        How often each end was seen, and the findings.
    """
    waiting, ends, findings = list(numbers), Counter[str](), []
    context = multiprocessing.get_context("spawn")
    while waiting:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, trial, waiting, setup))
        process.start()
        theirs.close()
        try:
            while waiting:
                number = waiting[0]
                if not ours.poll(seconds):
                    findings.append(Finding(number, f"hangs for {seconds} s"))
                    waiting.pop(0)
                    break
                end = ours.recv()
                waiting.pop(0)
                ends[end.split(":")[0]] += 1
                if end.startswith("WRONG"):
                    findings.append(Finding(number, end))
        except EOFError:
            process.join(10)
            findings.append(Finding(waiting.pop(0), f"ended with {process.exitcode}"))
        finally:
            process.kill()
            process.join()
            ours.close()
    ends.update({"finding": len(findings)} if findings else {})
    return ends, findings


def report(title: str, ends: Counter[str], began: float) -> None:
    """A line of the table that ``make faults`` prints."""
    counts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"\n{title}: {sum(ends.values())} tries: {counts} ({time.monotonic() - began:.0f} s)")


def _work(pipe: Connection, trial: Trial, numbers: list[int], setup: Any) -> None:
    # A stray message would look like a finding's.
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    for number in numbers:
        try:
            end = trial(number) if setup is None else trial(number, setup)  # type: ignore[call-arg]
        except ItrDeployError as error:
            said = str(error)
            bad = "\n" in said or not said or len(said) > 1000 or "Traceback" in said
            end = f"WRONG: message {said!r}" if bad else "refused"
        except BaseException:
            end = "WRONG: " + traceback.format_exc(limit=-6)
        pipe.send(end)
    pipe.close()
