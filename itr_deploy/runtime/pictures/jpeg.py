"""Pictures as a page shows them: JPEGs of a bounded size."""

from __future__ import annotations

import io

from itr_deploy.runtime.pictures.decode import Pixels

QUALITY = 88
"""Of the JPEG."""


def as_jpeg(pixels: Pixels, side: int) -> bytes:
    """A picture's JPEG, made smaller if a side has more pixels than ``side``.

    Args:
        pixels: ``uint8 [H, W, 3]``.
        side: Pixels of the longer side, at most.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
