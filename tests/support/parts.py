"""Galleries made in parts, compared with those that one process made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itr_deploy
from itr_deploy import Gallery
from itr_deploy.deploy.indexed import Indexed
from itr_deploy.runtime.gallery.bulk.place import Place


def make(given: dict[str, Any], parts: int, *chosen: int) -> list[Indexed]:
    """Make parts, all of them by default."""
    return [itr_deploy.index(**given, parts=parts, part=part) for part in chosen or range(parts)]


def commit(given: dict[str, Any], **more: Any) -> Indexed:
    return itr_deploy.index(given["bundle"], output=given["output"], commit=True, **more)


def place_of(given: dict[str, Any]) -> Place:
    return Place(Path(given["output"]))


def assert_equal(given: dict[str, Any], whole: Path) -> None:
    """A gallery of parts holds what one process stores, in its order, and nothing else is left."""
    itr_deploy.index(**{**given, "output": str(whole)})
    expected, found = Gallery.open(whole), Gallery.open(given["output"])
    assert found.table.to_arrow().equals(expected.table.to_arrow())
    assert found.description == expected.description
    found.verify()
    assert found.version == 1
    output = Path(given["output"])
    left = {path.name for path in output.parent.iterdir() if path.name.startswith(output.name)}
    assert left == {output.name}
    assert {path.name for path in output.iterdir()} == {"items.lance"}
