"""Tables and sections of a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def number(value: float | None) -> str:
    """A figure with one decimal, a hyphen for none."""
    return "-" if value is None else f"{value:,.1f}"


def table(
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    groups: Sequence[tuple[str, int]] = (),
) -> str:
    """A table.

    Args:
        heads: Of the columns.
        rows: Each with a class, which may be empty, and its cells as plain text.
        groups: Names over the heads, and how many columns each covers.
    """
    over = "".join(f'<th colspan="{width}">{escape(name)}</th>' for name, width in groups)
    head = (f'<tr class="groups">{over}</tr>' if over else "") + f"<tr>{_cells('th', heads)}</tr>"
    body = "".join(f'<tr class="{kind}">{_cells("td", cells)}</tr>' for kind, cells in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>\n"


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)


def section(title: str, content: str) -> str:
    """A section; ``content`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>\n"
