"""Progress of a verb, on standard error; standard output has only results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from itr_deploy.cli.interrupts import check_interrupted
from itr_deploy.cli.logs import SHOWN
from itr_deploy.errors import InterruptedWorkError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from itr_deploy.evaluation.progress import Bar

log = logging.getLogger(__name__)
# With JSON logs, steps are records whatever -v says, since text output shows them too.
log.setLevel(logging.INFO)


@contextmanager
def steps(shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show the step that is running.

    Args:
        shown: Whether steps are shown.
    """
    if not shown or SHOWN.quiet:
        yield lambda step: check_interrupted()
        return
    console = _console()
    with console.status("starting") if _moves(console) else nullcontext() as status:

        def begin(step: str) -> None:
            check_interrupted()
            if status is None:
                _tell(console, step)
            else:
                status.update(step)

        yield begin


@contextmanager
def counted(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and time left; call what it yields with done and total.

    The bar appears with the first call: input that is refused is not shown as work begun.
    """
    with progress_bar() as bar:

        def advance(done: int, total: int) -> None:
            check_interrupted()
            task = bar.task_ids[0] if bar.task_ids else bar.add_task(label)
            bar.update(task, completed=done, total=total)

        yield advance


@contextmanager
def pair_bar() -> Iterator[Bar]:
    """A progress bar over pairs.

    Raises:
        InterruptedWorkError: On Ctrl-C; finished work stays for the next run.
    """
    from itr_deploy.evaluation.progress import Bar

    with progress_bar() as bar:

        def begin(step: str) -> None:
            check_interrupted()
            _tell(bar.console, step)

        def advance(done: int) -> None:
            check_interrupted()
            bar.update(bar.task_ids[-1], completed=done)

        try:
            yield Bar(
                begin,
                lambda name, total, done: bar.add_task(name, total=total, completed=done),
                advance,
            )
        except KeyboardInterrupt as error:
            reached = "before any pair was scored; the same command begins again"
            if bar.tasks:
                done, total = int(bar.tasks[-1].completed), int(bar.tasks[-1].total or 0)
                reached = f"after {done:,} of {total:,} pairs; the same command goes on from there"
            raise InterruptedWorkError(f"interrupted {reached}") from error


@contextmanager
def graph_bars() -> Iterator[Callable[[str, str, int, int], None]]:
    """One progress bar per graph; call what it yields with graph, phase, done and total."""
    with progress_bar() as bar:
        tasks = {}

        def show(graph: str, phase: str, done: int, total: int) -> None:
            if graph not in tasks:
                tasks[graph] = bar.add_task(graph)
            bar.update(tasks[graph], description=f"{graph}: {phase}", completed=done, total=total)

        yield show


@contextmanager
def phase_bars() -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar per phase of the work; call what it yields with phase, done and total."""
    with progress_bar() as bar:
        tasks = {}

        def show(phase: str, done: int, total: int) -> None:
            check_interrupted()
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase)
            bar.update(tasks[phase], completed=done, total=total)

        yield show


def told(line: str) -> None:
    """Show a line beside the progress, such as how long it will take."""
    check_interrupted()
    _tell(_console(), line)


def progress_bar() -> Progress:
    """Bars with count, rate and time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.{1 if speed < 10 else 0}f}/s")

    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    # A bar that is merely not drawn would still capture standard error, and the log with it.
    return Progress(*columns, console=_console(), disable=SHOWN.quiet or SHOWN.as_json)


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _moves(console: Console) -> bool:
    """Whether output can be overwritten and is meant for a person."""
    return console.is_terminal and not SHOWN.as_json


def _tell(console: Console, step: str) -> None:
    """Show a step as a line."""
    if SHOWN.quiet:
        return
    if SHOWN.as_json:
        log.info("%s", step)
    else:
        console.print(f"- {step}", markup=False, highlight=False, soft_wrap=True)
