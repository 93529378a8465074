"""Where the time of a search goes, as a picture: one bar per setting, one colour per stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from itr_deploy.benchmarking.report import SearchFigures
from itr_deploy.benchmarking.searches import REST, TOTAL
from itr_deploy.rendering import render
from itr_deploy.runtime.timing import STAGES

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 900, 270, 110, 84, 34, 22
NARROWEST = 0.06
"""The smallest share of a bar that has room for its figure."""
COLOURS = dict(
    zip(
        (*STAGES, REST),
        (
            *("#35598f", "#c9822b", "#7b5aa6", "#2f93a8", "#9a8f2f", "#3f8f6b", "#b0475a"),
            "#b8bcc4",
        ),
        strict=True,
    )
)


class Part(NamedTuple):
    """One stage's part of a bar, in pixels; ``figure`` is empty if there is no room for it."""

    colour: str
    x: float
    width: float
    hint: str
    figure: str


def picture(title: str, searches: Sequence[SearchFigures]) -> str:
    """An SVG document with every setting's mean time, divided into stages.

    Args:
        title: What was searched.
        searches: The times of searches with every setting.
    """
    known = {name for entry in searches for name in entry.milliseconds}
    rows = [(entry, entry.milliseconds[TOTAL].mean, list(_parts(entry))) for entry in searches]
    return render(
        "itr_deploy.benchmarking",
        "searches.svg",
        label="Where the time goes",
        title=title,
        keys={name: colour for name, colour in COLOURS.items() if name in known},
        rows=[(TOP + ROW * number, *row) for number, row in enumerate(rows)],
        width=WIDTH,
        height=TOP + ROW * len(searches) + 16,
        bar=BAR,
        end=WIDTH - RIGHT,
    )


def _parts(entry: SearchFigures) -> Iterator[Part]:
    x, room = float(LEFT), WIDTH - LEFT - RIGHT
    for name, colour in COLOURS.items():
        if name in entry.milliseconds:
            mean = entry.milliseconds[name].mean
            share = mean / entry.milliseconds[TOTAL].mean
            hint = f"{name}: {mean:.2f} ms, {share:.1%}"
            yield Part(colour, x, room * share, hint, f"{share:.0%}" if share >= NARROWEST else "")
            x += room * share
