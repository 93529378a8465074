"""Opens the gallery of one shard."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.matcher import Matcher


def open_shard(path: Path, matcher: Matcher | None = None) -> Gallery:
    """Open the gallery of one shard, as `Gallery.open` does.

    Raises:
        GalleryError: It is missing, damaged, or was made with another bundle.
    """
    if not path.exists():
        raise GalleryError(
            f"{path}: no such shard; copy it here from where itr-deploy shard made it, or split "
            "the gallery again"
        )
    return Gallery.open(path, matcher)
