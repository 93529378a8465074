"""The progress of an evaluation, and what is said when it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from itr_deploy.cli.output import progress_bar
from itr_deploy.errors import InterruptedWorkError
from itr_deploy.evaluation.progress import Bar


@contextmanager
def pair_bar() -> Iterator[Bar]:
    """A progress bar over pairs.

    Raises:
        InterruptedWorkError: Ctrl-C, once there is something that the next run can go on from.
    """
    with progress_bar() as bar:
        try:
            yield Bar(
                lambda step: bar.console.print(f"- {step}"),
                lambda name, total, done: bar.add_task(name, total=total, completed=done),
                lambda done: bar.update(bar.task_ids[-1], completed=done),
            )
        except KeyboardInterrupt as error:
            if not bar.tasks:
                raise
            done, total = int(bar.tasks[-1].completed), int(bar.tasks[-1].total or 0)
            raise InterruptedWorkError(
                f"interrupted after {done:,} of {total:,} pairs; "
                "the same command goes on from there"
            ) from error
