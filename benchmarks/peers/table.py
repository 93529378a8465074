"""A row of the comparison, its columns, and the table that is printed.

Imports nothing but Python's library until it prints: rows come from processes of other Pythons too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Column:
    """What a figure is called and how it is printed.

    Attributes:
        heading: In the table, with its unit.
        form: Python's format of the figure.
        divisor: What it is divided by before.
        more_is_better: Whether the larger of two figures wins.
    """

    heading: str
    form: str = ",.1f"
    divisor: float = 1.0
    more_is_better: bool = False

    def show(self, figure: float) -> str:
        """The figure as it is printed."""
        return format(figure / self.divisor, self.form)


COLUMNS = {
    "pairs_per_second": Column("pairs/s", ",.0f", more_is_better=True),
    "ms_1000": Column("ms, 1,000"),
    "ms_100000": Column("ms, 100,000", ",.0f"),
    "vectors_top": Column("% of the vectors' top 10", ".1f", 0.01, more_is_better=True),
    "recall": Column("% of exact top 10", ".1f", 0.01, more_is_better=True),
    "recall_at_1": Column("right one first, %", ".1f", 0.01, more_is_better=True),
    "build": Column("build, s"),
    "beside": Column("MB beside the vectors", ",.0f", 1e6),
    "cold_start": Column("cold start, s", ".1f"),
    "memory": Column("peak MB", ",.0f", 1e6),
    "installed": Column("installed MB", ",.0f", 1e6),
    "requests_per_second": Column("requests/s", ",.0f", more_is_better=True),
    "in_process_ms": Column("in process, ms", ".2f"),
    "http_ms": Column("over HTTP, ms", ".2f"),
    "overhead_ms": Column("HTTP adds, ms", ".2f"),
    "cpu_ms": Column("server's CPU, ms a request", ".2f"),
}
"""The columns, by the names of the figures; a table has those that its rows have."""

MARGIN = 1.05
"""A peer wins a column if its figure is better by this factor, about what two runs differ by."""

OURS = "itr-deploy"


@dataclass(frozen=True)
class Row:
    """What was found about one peer.

    Attributes:
        peer: Name, as printed.
        group: The work that it did; rows of one group are compared.
        version: Of what did it.
        figures: By the names of `COLUMNS`; times in the unit of the column, bytes, shares of 1.
        reckoned: Those figures that were derived from others.
        note: What was reckoned, or could not be done and why.
    """

    peer: str
    group: str
    version: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    reckoned: tuple[str, ...] = ()
    note: str = ""

    def to_json(self) -> str:
        """One line, for `from_json` in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Row:
        """What `to_json` wrote."""
        return cls.from_record(json.loads(line))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Row:
        """A row as JSON holds it."""
        return cls(**{**record, "reckoned": tuple(record["reckoned"])})


def wins(row: Row, ours: Iterable[Row]) -> list[str]:
    """The names of the columns in which a peer is ahead of every row of ours that has them."""
    found = []
    for name, figure in row.figures.items():
        own = [one.figures[name] for one in ours if name in one.figures]
        if not own or row.peer.startswith(OURS):
            continue
        more = COLUMNS[name].more_is_better
        if figure > max(own) * MARGIN if more else figure * MARGIN < min(own):
            found.append(name)
    return found


def show(rows: Sequence[Row]) -> None:
    """Print a table of each group, and its notes."""
    from rich.console import Console

    console = Console(width=160)
    for group in dict.fromkeys(row.group for row in rows):
        mine = [row for row in rows if row.group == group]
        console.print(_table(group, mine))
        for row in mine:
            if row.note:
                console.print(f"{row.peer}: {row.note}", markup=False, highlight=False)


def _table(group: str, rows: list[Row]) -> Any:
    from rich.table import Table

    table = Table(title=f"{group}; ~ is reckoned, * is ahead of itr-deploy")
    table.add_column("")
    table.add_column("version")
    names = [name for name in COLUMNS if any(name in row.figures for row in rows)]
    for name in names:
        table.add_column(COLUMNS[name].heading, justify="right")
    ours = [row for row in rows if row.peer.startswith(OURS)]
    for row in rows:
        ahead = wins(row, ours)
        table.add_row(row.peer, row.version, *(cell(row, name, ahead) for name in names))
    return table


def cell(row: Row, name: str, ahead: Sequence[str] = ()) -> str:
    """One figure as printed: ``~`` before what is reckoned, ``*`` behind what wins."""
    if name not in row.figures:
        return ""
    told = COLUMNS[name].show(row.figures[name])
    return f"{'~' * (name in row.reckoned)}{told}{'*' * (name in ahead)}"


def markdown(rows: Sequence[Row]) -> str:
    """The tables for a page, without notes."""
    lines: list[str] = []
    for group in dict.fromkeys(row.group for row in rows):
        mine = [row for row in rows if row.group == group]
        names = [name for name in COLUMNS if any(name in row.figures for row in mine)]
        ours = [row for row in mine if row.peer.startswith(OURS)]
        lines += [f"| {group} | " + " | ".join(COLUMNS[name].heading for name in names) + " |"]
        lines += ["|---" * (1 + len(names)) + "|"]
        for row in mine:
            ahead = wins(row, ours)
            cells = [cell(row, name, ahead) for name in names]
            lines.append(f"| {row.peer} {row.version} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)
