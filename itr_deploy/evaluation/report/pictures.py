"""Pictures by the ids of images, to embed in a page."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.runtime.pictures.folder import picture_named

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


SPLIT = "an image of the split", "images= (--images) and {split}_ids.txt"
"""What a page of a split shows, and where to look if there are no pictures of it."""


class Pictures:
    """Files of a directory, named by the images' ids, with or without the file's ending."""

    def __init__(
        self,
        root: Path | None,
        ids: Sequence[str],
        of: tuple[str, str] = SPLIT,
        endings: Collection[str] = TYPES,
    ) -> None:
        """Look for the pictures; without a directory there are none.

        Args:
            root: The directory.
            ids: The images' ids, or names.
            of: What has these ids, and what to check if there is none, for the message.
            endings: The files' endings; by default those that `data_uri` takes.

        Raises:
            InputError: The directory has no picture of any of them.
        """
        self._root, self._ids, self._endings = root, ids, endings
        if root is not None and all(self.path(number) is None for number in range(len(ids))):
            raise InputError(
                f"{root}: no picture is called as {of[0]}, for example "
                f"{ids[0]!r} or {ids[0] + '.jpg'!r}; check {of[1]}"
            )

    def data_uri(self, number: int) -> str | None:
        """A picture as a data URI, None if there is none."""
        path = self.path(number)
        if path is None:
            return None
        content = base64.b64encode(path.read_bytes()).decode()
        return f"data:{TYPES[path.suffix.lower()]};base64,{content}"

    def path(self, number: int) -> Path | None:
        """The file of a picture, None if there is none."""
        if self._root is None:
            return None
        return picture_named(self._root, self._ids[number], self._endings)
