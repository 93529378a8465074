"""Pictures for a page: as they are seen, and no larger than they are shown."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.pictures.decode import decoded
from itr_deploy.runtime.pictures.jpeg import as_jpeg

log = logging.getLogger(__name__)

LONGEST_SIDE = 720
"""Pixels of the longer side of an embedded picture."""

ALIKE = 0.03
"""How far the proportions of a picture may be from those that the boxes were made for."""


def embedded(path: Path, placed: Placed | None) -> str | None:
    """A picture's file as a data URI, None and a warning if it cannot be decoded.

    Args:
        path: The file.
        placed: Where the picture's regions are, to warn if they are another picture's.
    """
    try:
        pixels = decoded(path, str(path))
    except InputError as error:
        log.warning("%s; it is not shown", error)
        return None
    if placed is not None:
        width, height = placed.picture_size.tolist()
        own_height, own_width = pixels.shape[:2]
        if abs(own_width * height - own_height * width) > ALIKE * own_height * width:
            log.warning(
                "%s: has %d x %d pixels, and its boxes were made for %d x %d; they may not fit",
                *(path, own_width, own_height, width, height),
            )
    content = as_jpeg(pixels, LONGEST_SIDE)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
