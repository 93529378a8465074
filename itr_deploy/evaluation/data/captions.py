"""The captions of a split in the order of their file, and the image that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.names import shortened
from itr_deploy.errors import InputError, UsageError
from itr_deploy.evaluation.data.lines import read_lines


@dataclass(frozen=True, eq=False)
class Captions:
    """Captions in the order of their file.

    Attributes:
        texts: The captions.
        images: ``int64 [C]``, the number of every caption's image.
    """

    texts: list[str]
    images: NDArray[np.int64]

    @classmethod
    def equal(cls, texts: list[str], per_image: int) -> Captions:
        """Captions of which every image has the same number, one image after the other."""
        return cls(texts, np.arange(len(texts)) // per_image)

    def counts(self, images: int) -> NDArray[np.int64]:
        """Number of captions of each of ``images`` images."""
        return np.bincount(self.images, minlength=images).astype(np.int64)

    def grouped(self) -> list[str]:
        """The captions in the order of the images; those of an image keep their order."""
        return [self.texts[place] for place in np.argsort(self.images, kind="stable")]

    def first(self, count: int) -> Captions:
        """The first ``count`` captions.

        Raises:
            UsageError: There are fewer, or an image has captions among them and after them.
        """
        if count > len(self.texts):
            raise UsageError(
                f"first={count} (--first) is more than the split's {len(self.texts)} captions; "
                "leave it out to take all"
            )
        whole = self._whole()
        if count not in whole:
            below, above = whole[whole < count], whole[whole > count]
            near = " or ".join(str(int(end)) for end in (*below[-1:], *above[:1]))
            raise UsageError(
                f"first={count} (--first) takes only some of an image's captions; give {near}"
            )
        return Captions(self.texts[:count], self.images[:count])

    def _whole(self) -> NDArray[np.int64]:
        """Numbers of first captions that take all captions of their images."""
        places = np.arange(len(self.images))
        last = np.zeros(int(self.images.max()) + 1, np.int64)
        np.maximum.at(last, self.images, places)
        reach = np.maximum.accumulate(last[self.images])
        return np.flatnonzero(reach == places) + 1


def read_image_of_captions(
    path: Path, texts: list[str], names: Sequence[str], ids: str
) -> Captions:
    """Captions of which a file says, line by line, whose they are.

    Args:
        path: The file: one line per caption with the id of its image.
        texts: The captions.
        names: The images' ids.
        ids: Name of the file that the ids are from; without one they are row numbers from 0.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It has another number of lines than there are captions, or names an unknown
            image.
    """
    lines = read_lines(path)
    if len(lines) != len(texts):
        raise InputError(
            f"{path}: {len(lines)} lines for {len(texts)} captions; expected one line a caption, "
            "the id of its image"
        )
    places = {name: place for place, name in enumerate(names)}
    images = np.empty(len(lines), np.int64)
    for number, line in enumerate(lines):
        place = places.get(line.strip())
        if place is None:
            expected = f"an id of {ids}" if ids else f"a row of the features, 0 to {len(names) - 1}"
            raise InputError(
                f"{path}: line {number + 1}: no image {shortened(line.strip())!r}; expected "
                f"{expected}"
            )
        images[number] = place
    return Captions(texts, images)
