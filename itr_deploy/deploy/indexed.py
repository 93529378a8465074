"""What `index` returns, and the directory that it makes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itr_deploy.bundle.leftovers import entries
from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.coarse_index import FROM
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.rerank.store import FOLDER, is_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexed:
    """A gallery after items were added to it.

    Attributes:
        gallery: Its directory or address.
        modality: Modality of its items.
        added: Number of items that this call added.
        items: Number of items that it has now.
        coarse_indexed: Number of items in the coarse index, 0 if there is none.
        broken: Why pictures were left out, by their ids.
    """

    gallery: str
    modality: Modality
    added: int
    items: int
    coarse_indexed: int
    broken: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report; ``broken`` is there if there are any."""
        return {name: value for name, value in vars(self).items() if name != "broken" or value}


def is_gallery(path: Path) -> bool:
    """Whether a directory holds only a gallery's table, with or without its scores of a bank."""
    names = entries(path)
    stored = FOLDER in names and is_store(path / FOLDER)
    return names - ({FOLDER} if stored else set()) == {f"{TABLE}.lance"}


def index_if_large(gallery: Gallery, wanted: bool | None) -> None:
    """Build a gallery's coarse index if it is wanted, or large and nobody says."""
    if wanted or (wanted is None and gallery.count() >= FROM):
        log.info("%s: building the coarse index", gallery.path)
        gallery.build_coarse_index()


def of_gallery(
    gallery: Gallery, added: int, broken: Mapping[str, str] = MappingProxyType({})
) -> Indexed:
    """What is told of a gallery to which items were added, and of those that were left out."""
    about = gallery.path, gallery.modality
    return Indexed(*about, added, gallery.count(), gallery.coarse_indexed, dict(broken))
