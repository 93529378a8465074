"""Where the time of a search goes, as a picture: a bar a setting, a colour a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from itr_deploy.benchmarking.searches import REST
from itr_deploy.runtime.timing import STAGES

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 900, 250, 110, 84, 34, 22
NARROWEST = 0.06
"""Share of a bar that has room for its figure."""
COLOURS = dict(
    zip(
        (*STAGES, REST),
        ("#35598f", "#c9822b", "#7b5aa6", "#2f93a8", "#3f8f6b", "#b0475a", "#b8bcc4"),
        strict=True,
    )
)
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#223}.s{font-size:11px;fill:#667}"
    ".v{font-size:11px;fill:#fff}"
)


def setting_name(entry: Mapping[str, Any]) -> str:
    """What a setting is called: its batch, candidates and threads."""
    queries = "1 query" if entry["batch"] == 1 else f"{entry['batch']} queries"
    width = "all items" if entry["candidates"] is None else f"{entry['candidates']} candidates"
    threads = "" if entry["threads"] is None else f", threads {entry['threads']}"
    return f"{queries}, {width}{threads}"


def picture(title: str, searches: Sequence[Mapping[str, Any]]) -> str:
    """An SVG document: of every setting the stages' shares of its mean time.

    Args:
        title: What was searched.
        searches: As `itr_deploy.benchmarking.searches.measured` returns them.
    """
    height = TOP + ROW * len(searches) + 16
    stages = [name for name in COLOURS if any(name in entry["milliseconds"] for entry in searches)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-label="Where the time goes">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="20" y="28">{escape(title)}</text>',
            *(_key(number, name) for number, name in enumerate(stages)),
            *(_bar(number, entry, stages) for number, entry in enumerate(searches)),
            "</svg>",
            "",
        ]
    )


def _key(number: int, name: str) -> str:
    x = 20 + 110 * number
    return (
        f'<rect x="{x}" y="44" width="12" height="12" fill="{COLOURS[name]}"/>'
        f'<text class="s" x="{x + 18}" y="54">{name}</text>'
    )


def _bar(number: int, entry: Mapping[str, Any], stages: Sequence[str]) -> str:
    means = {name: figures["mean"] for name, figures in entry["milliseconds"].items()}
    y, room = TOP + ROW * number, WIDTH - LEFT - RIGHT
    parts = [f'<text x="20" y="{y + 16}">{escape(setting_name(entry))}</text>']
    x = float(LEFT)
    for name in stages:
        share = means.get(name, 0.0) / means["total"]
        width = room * share
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" '
            f'fill="{COLOURS[name]}"><title>{name}: {means.get(name, 0.0):.2f} ms, {share:.1%}'
            "</title></rect>"
        )
        if share >= NARROWEST:
            parts.append(
                f'<text class="v" x="{x + width / 2:.1f}" y="{y + 15}" text-anchor="middle">'
                f"{share:.0%}</text>"
            )
        x += width
    parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{y + 16}">{means["total"]:.1f} ms</text>')
    return "".join(parts)
