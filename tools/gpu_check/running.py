"""Runs commands one after the other, each within its time, and keeps what was found so far."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tools.gpu_check.parts import write_json

RESULTS, LOG = "results.json", "log.txt"
"""Few files, as they may have to be carried back one by one."""
GRACE = 3.0
"""Seconds that a command has to end after it was asked to."""
LEAST = 5.0
"""Seconds without which no step begins."""


@dataclass
class Results:
    """The results so far, written after every step.

    Attributes:
        folder: Where `RESULTS` and `LOG` are written.
        head: What holds for all steps.
        steps: The steps that began, in their order.
    """

    folder: Path
    head: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Write them; a reader finds either these or the ones before."""
        write_json(self.folder / RESULTS, {**self.head, "steps": self.steps})

    def state_of(self, name: str) -> str | None:
        """The state of a step, None if it has not begun."""
        return next((step["state"] for step in self.steps if step["name"] == name), None)

    def not_run(self, name: str, says: str, reason: str) -> None:
        """Note a step that is not run."""
        self.steps.append({"name": name, "says": says, "state": "not run", "reason": reason})
        self.write()


@dataclass(frozen=True)
class Budget:
    """The seconds that all steps together may take."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    @property
    def spent(self) -> str:
        """Why nothing more is begun."""
        return f"no time was left of the {self.seconds:.0f} s for all steps"


def run_step(
    results: Results,
    name: str,
    says: str,
    command: Sequence[str],
    *,
    limit: float,
    budget: Budget,
    environment: Mapping[str, str],
    shown: str | None = None,
) -> dict[str, Any]:
    """Run a command and note what came of it: nothing that it does stops the next.

    Args:
        results: Where it is noted: as ``running`` first, in case this process is ended.
        name: The step's name.
        says: What it shows, for people.
        command: What to run.
        limit: Seconds that it may take, less if less of the budget is left.
        budget: Of all steps.
        environment: The command's environment variables.
        shown: The command for people.

    Returns:
        The step as it is in the results: ``state`` is ``ok``, ``failed``, ``over its time``,
        ``not run`` or, where this process was asked to end, ``interrupted``; ``found`` are the
        JSON values that it printed, up to where it was stopped.

    Raises:
        KeyboardInterrupt: This process was asked to end; the results are written.
    """
    seconds = min(limit, budget.left)
    if budget.left < LEAST:
        results.not_run(name, says, budget.spent)
        return results.steps[-1]
    step: dict[str, Any] = {
        "name": name,
        "says": says,
        "state": "running",
        "command": shown or " ".join(command),
        "limit": round(seconds, 1),
        "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    results.steps.append(step)
    results.write()
    out, err = results.folder / f".{name}.out", results.folder / f".{name}.err"
    begun, interrupted = time.monotonic(), None
    try:
        code = _run(command, seconds, out, err, environment)
    except KeyboardInterrupt as caught:
        code, interrupted = None, caught
    except OSError as error:
        code = 127
        err.write_text(f"error: {error}\n")
    printed, said = _text(out), _text(err)
    _log(results.folder / LOG, step, printed, said)
    step |= {
        "seconds": round(time.monotonic() - begun, 2),
        "exit": code,
        "found": list(json_in(printed)),
    }
    if interrupted is not None:
        step |= {"state": "interrupted", "reason": "the check was ended"}
    elif code is None:
        reason = f"stopped after {seconds:.0f} s"
        step |= {"state": "over its time", "reason": f"{reason}: {last_line(said)}".rstrip(": ")}
    elif code:
        ended = f"exit code {code}" if code > 0 else signal.Signals(-code).name
        step |= {"state": "failed", "reason": last_line(said) or ended}
    else:
        step["state"] = "ok"
    for path in (out, err):
        path.unlink(missing_ok=True)
    results.write()
    if interrupted is not None:
        raise interrupted
    return step


def _run(
    command: Sequence[str], seconds: float, out: Path, err: Path, environment: Mapping[str, str]
) -> int | None:
    """The exit code; None if it was stopped. Files instead of pipes: what was printed is kept."""
    with out.open("wb") as printed, err.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=said,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return None
        finally:
            # Whatever it started and left behind would take the next step's processor and GPU.
            _signal(process, signal.SIGKILL)
            process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Without the group, all of them have ended.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def json_in(text: str) -> Iterator[Any]:
    """The JSON objects in a text, each beginning a line; libraries print between them."""
    decoder, place = json.JSONDecoder(), 0
    while (place := _next_object(text, place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
            yield value
        except ValueError:
            place += 1


def _next_object(text: str, place: int) -> int:
    while (place := text.find("{", place)) > 0 and text[place - 1] != "\n":
        place += 1
    return place


def last_line(text: str) -> str:
    """The last line that says something: where a program ends with an error, that is it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _log(path: Path, step: Mapping[str, Any], printed: str, said: str) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(f"=== {step['name']}, {step['began']}: {step['command']}\n{printed}")
        log.write(f"--- {step['name']}, standard error\n{said}\n")


def ends_in_order(work: Callable[[], None]) -> None:
    """Do some work; a request to end interrupts it, so that it can write what it has."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        work()
    finally:
        signal.signal(signal.SIGTERM, before)
