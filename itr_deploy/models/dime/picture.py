"""The routing graph of a DIME as a picture: the wider an edge, the more it is used."""

from __future__ import annotations

from itr_deploy.models.dime.profile import RouteProfile, RouteUse
from itr_deploy.models.dime.routes import CELLS, PATHS

WIDTH, HEIGHT = 880, 560
LEFT, TOP, COLUMN, ROW = 150, 90, 190, 150
BOX_WIDTH, BOX_HEIGHT = 96, 34
WIDEST = 9.0
"""Pixels of an edge that is all of its aggregate."""

TITLES = {
    "ric": "identity",
    "glgc": "guidance",
    "imrc": "reasoning",
    "cmrc": "refinement",
}
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#223}.s{font-size:11px;fill:#667}"
    ".c{fill:#eef3fb;stroke:#35598f}.u{fill:#f4f4f4;stroke:#bbb;stroke-dasharray:4 3}"
    ".e{stroke:#35598f;fill:none;stroke-opacity:.75}.n{stroke:#ddd;stroke-dasharray:3 4;fill:none}"
    ".k{stroke:#b5651d;fill:none;stroke-opacity:.75}"
)


def picture(profile: RouteProfile) -> str:
    """An SVG document: cells by layer, edges as wide as their share of the aggregate they join.

    An edge that was never used is dashed and grey, and so is a cell without one in use. Skip
    connections are brown, from the cell whose output or input they carry.
    """
    edges = [_edge(use) for use in profile.routes]
    skips = [
        _line(_out(use.layer, CELLS.index(use.cell)), _into(use.path), "k", use.share)
        for use in profile.skips
        if use.used
    ]
    evidence = profile.evidence
    caption = (
        f"{profile.pairs:,} pairs of split {evidence.split}: {evidence.images:,} images, "
        f"{evidence.captions:,} captions"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="Use of the routes">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            _text(20, 30, f"Routes: {_escaped(caption)}"),
            _text(
                20,
                50,
                "width: mean share of the sum an edge joins; dashed: never used; brown: skip "
                "connection",
                "s",
            ),
            *edges,
            *skips,
            *(_cell(profile, layer, cell) for layer in range(len(PATHS)) for cell in range(4)),
            *(_text(20, TOP + ROW * layer + 22, f"layer {layer}") for layer in range(len(PATHS))),
            _box(*_into("score"), "score", "c"),
            "</svg>",
            "",
        ]
    )


def _cell(profile: RouteProfile, layer: int, cell: int) -> str:
    used = any(
        use.share > 0 for use in profile.routes if use.layer == layer and use.cell == CELLS[cell]
    )
    x, y = _into(f"layer{layer}.{CELLS[cell]}")
    return _box(x, y, TITLES[CELLS[cell]], "c" if used else "u")


def _edge(use: RouteUse) -> str:
    kind = "e" if use.share > 0 else "n"
    title = (
        f"layer{use.layer}.{use.cell} to {use.path}: 0 in {use.zero:.1%} of the pairs, mean "
        f"{use.mean:.3f}, share {use.share:.3f}"
    )
    return _line(_out(use.layer, CELLS.index(use.cell)), _into(use.path), kind, use.share, title)


def _into(path: str) -> tuple[int, int]:
    """Top middle of the box that a path leads to."""
    if path == "score":
        return LEFT + COLUMN * 3 // 2 + BOX_WIDTH // 2, TOP + ROW * len(PATHS) - 40
    layer, cell = path.removeprefix("layer").split(".")
    return LEFT + COLUMN * CELLS.index(cell) + BOX_WIDTH // 2, TOP + ROW * int(layer)


def _out(layer: int, cell: int) -> tuple[int, int]:
    """Bottom middle of a cell's box."""
    x, y = _into(f"layer{layer}.{CELLS[cell]}")
    return x, y + BOX_HEIGHT


def _line(
    start: tuple[int, int], end: tuple[int, int], kind: str, share: float, title: str = ""
) -> str:
    (x1, y1), (x2, y2) = start, end
    middle = (y1 + y2) / 2
    width = max(0.6, WIDEST * share) if kind != "n" else 0.8
    hint = f"<title>{_escaped(title)}</title>" if title else ""
    return (
        f'<path class="{kind}" stroke-width="{width:.2f}" '
        f'd="M{x1} {y1}C{x1} {middle:.0f} {x2} {middle:.0f} {x2} {y2}">{hint}</path>'
    )


def _box(x: int, y: int, name: str, kind: str) -> str:
    left = x - BOX_WIDTH // 2
    return (
        f'<rect class="{kind}" x="{left}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="6"/><text x="{x}" y="{y + 22}" text-anchor="middle">{name}</text>'
    )


def _text(x: int, y: int, content: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{content}</text>'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
