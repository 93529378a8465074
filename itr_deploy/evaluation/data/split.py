"""The field's precomputed data on disk.

``{split}_ims.npy`` or ``{split}_feat.npy`` holds region features ``[N, R, Di]``, one row per image,
or each image repeated once per caption. ``{split}_caps.txt`` has one caption per line, the captions
of an image together. ``{split}_ids.txt``, if present, has one id per image or per caption.
Where images have different numbers of captions, ``{split}_caps_image_ids.txt`` has one line per
caption: its image's id in ``{split}_ids.txt``, or its row of features from 0 if there are no ids.
Without ``{split}_caps.txt`` the captions are those of a JSON file of Karpathy's splits.
``{split}_region_counts.npy``, if present, has how many of its rows of features are regions, for
every row of the features; what is beyond is padding. ``{split}_boxes.npy``, ``[N, R, 4]``, and
``{split}_img_sizes.npy``, ``[N, 2]``, say where the regions are. For a model that starts from
pixels, pictures take the place of features, see `evaluation.data.pictures`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.data.captions import Captions, read_image_of_captions
from itr_deploy.evaluation.data.features import find_features, with_extras
from itr_deploy.evaluation.data.karpathy import Karpathy, find_karpathy
from itr_deploy.evaluation.data.lines import read_lines, refuse_numbered
from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.data.pictures import find_pictures, given_pictures
from itr_deploy.runtime.encoding.regions import Regions

log = logging.getLogger(__name__)

CAPTIONS_PER_IMAGE = 5


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set.

    Attributes:
        name: Its name.
        regions: ``[N, R, Di]``, mapped from disk, one row per image; or the paths of pictures,
            ``[N]``.
        image_ids: One id per image.
        captions: All captions, in the order of their images.
        captions_per_image: Number of captions per image: one for all, or one for each.
        images: The images as a matcher takes them, mapped from disk; by default the regions alone.
        cut_to: Number of captions that it was cut to, None if it is whole.
    """

    name: str
    regions: NDArray[Any]
    image_ids: list[str]
    captions: list[str]
    captions_per_image: int | Sequence[int]
    images: Regions | list[Path] | None = None
    cut_to: int | None = None

    @property
    def given(self) -> Regions | list[Path]:
        """The images as a matcher takes them."""
        return self.images or Regions(self.regions)

    @property
    def extras(self) -> Regions:
        """What is known of the images besides their features; nothing of pictures."""
        return self.given if isinstance(self.given, Regions) else Regions(())

    @property
    def caption_ids(self) -> list[str]:
        """One id per caption: its image's id, ``#``, and its number."""
        counts = zip(self.image_ids, self.answers.counts, strict=True)
        return [f"{name}#{number}" for name, count in counts for number in range(count)]

    @property
    def image_of_caption(self) -> list[str]:
        """The id of every caption's image."""
        return [self.image_ids[number] for number in self.answers.image_of]

    def first(self, images: int | None) -> Split:
        """The first ``images`` images and their captions; None for all."""
        if images is None:
            return self
        answers = self.answers.part(slice(0, images))
        return replace(
            self,
            regions=self.regions[:images],
            image_ids=self.image_ids[:images],
            captions=self.captions[: len(answers.image_of)],
            captions_per_image=answers.per_image or answers.counts.tolist(),
            images=self.given[:images],
        )

    @cached_property
    def answers(self) -> Answers:
        """Which captions belong to which image."""
        if isinstance(self.captions_per_image, int):
            return Answers.equal(len(self.image_ids), self.captions_per_image)
        return Answers.of(self.captions_per_image)

    def digest(self) -> str:
        """SHA-256 of its features as float32, or its pictures, and its captions."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        seen = hashlib.sha256(repr(self.regions.shape).encode())
        if self.regions.ndim == 1:
            for path in self.regions.tolist():
                try:
                    seen.update(sha256_of(Path(path)).encode())
                except OSError as error:
                    raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        for start in range(0, len(self.regions) if self.regions.ndim > 1 else 0, 64):
            seen.update(np.ascontiguousarray(self.regions[start : start + 64], "<f4").data)
            release_pages(self.regions)
        for extra in (self.extras.boxes, self.extras.picture_sizes, self.extras.counts):
            if extra is not None:
                seen.update(np.ascontiguousarray(extra, "<f8").data)
        for caption in self.captions:
            seen.update(caption.encode() + b"\n")
        if self.answers.per_image is None:
            seen.update(np.ascontiguousarray(self.answers.counts, "<i8").data)
        return seen.hexdigest()


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a split, whose captions nobody needs.

    Attributes:
        regions: ``[N, R, Di]``, mapped from disk, one row per image; or the paths of pictures.
        ids: One id per image.
        given: The images as a matcher takes them.
    """

    regions: NDArray[Any]
    ids: list[str]
    given: Regions | list[Path]


def read_images(directory: str | Path, split: str, *, pictures: bool = False) -> Images:
    """Read the images of a split alone; there may be no captions, or any number of them.

    Args:
        directory: Directory of its files.
        split: Its name.
        pictures: Whether they are pictures, for a model that starts from pixels.

    Raises:
        InputError: A file is missing or damaged, or the ids do not fit the images.
    """
    root = Path(directory)
    features, given = _given_images(root, split, pictures)
    path = root / f"{split}_ids.txt"
    lines = _lines(path, required=False)
    own_ids = len(lines) == len(features) == len(set(lines))
    if not own_ids and _repeats(features):
        log.warning(
            "%s: every image is there %d times, once per caption; each is taken once",
            *(root, CAPTIONS_PER_IMAGE),
        )
        features, given = features[::CAPTIONS_PER_IMAGE], given[::CAPTIONS_PER_IMAGE]
    per_image = max(len(lines) // len(features), 1)
    captions = _lines(root / f"{split}_caps.txt", required=False) if per_image > 1 else []
    if len(captions) != len(lines):
        _refuse_mixed(path, lines, per_image)
    return Images(features, _image_ids(path, len(features), per_image), given)


def read_split(
    directory: str | Path,
    split: str,
    *,
    captions: Path | None = None,
    first: int | None = None,
    pictures: bool = False,
) -> Split:
    """Read one split.

    Args:
        directory: Directory of its files.
        split: Its name.
        captions: A JSON file of Karpathy's splits to take the captions from, whatever lies in the
            directory.
        first: Take only the first captions of the file, this many, and the images that they belong
            to. The published programs evaluate on the first 5,000 of a dev split.
        pictures: Whether the images are pictures, for a model that starts from pixels.

    Raises:
        InputError: A file is missing or damaged, or the counts do not fit each other.
        UsageError: There are fewer captions than ``first``, or it takes only some of an image's.
    """
    root = Path(directory)
    found, images = _given_images(root, split, pictures)
    features, ids, own = _captions(found, root, split, captions)
    given = images[:: len(found) // len(features)]
    if not own.texts:
        raise InputError(f"{root}: split {split!r} is empty: {len(features)} images, 0 captions")
    if first is not None:
        own = own.first(first)
        kept = np.unique(own.images)
        # Usually they are the first; others are read into memory.
        chosen = slice(0, len(kept)) if kept[-1] == len(kept) - 1 else kept
        features = features[chosen]
        given = given[chosen] if isinstance(given, Regions) else given_pictures(features)
        ids = [ids[number] for number in kept]
        own = Captions(own.texts, np.searchsorted(kept, own.images))
    counts = own.counts(len(features))
    if not counts.all():
        log.warning(
            "%s: %d of %d images have no captions: they are searched, and are no queries",
            *(root, np.count_nonzero(counts == 0), len(counts)),
        )
    per_image = Answers(counts).per_image or counts.tolist()
    return Split(split, features, ids, own.grouped(), per_image, given, cut_to=first)


def _given_images(
    root: Path, split: str, pictures: bool
) -> tuple[NDArray[Any], Regions | list[Path]]:
    """A split's features, or the paths of its pictures, and the images as a matcher takes them."""
    found: NDArray[Any] = find_pictures(root, split) if pictures else find_features(root, split)
    if len(found) == 0:
        raise InputError(f"{root}: split {split!r} is empty: 0 images")
    return found, given_pictures(found) if pictures else with_extras(found, root, split)


def _captions(
    features: NDArray[Any], root: Path, split: str, given: Path | None
) -> tuple[NDArray[Any], list[str], Captions]:
    """The features with every image once, the images' ids, and the captions."""
    path, ids_path = root / f"{split}_caps.txt", root / f"{split}_ids.txt"
    if given is None and not path.is_file():
        given = find_karpathy(root)
    if given is not None:
        ids = _image_ids(ids_path, len(features), 1)
        if ids_path.is_file():
            return features, ids, Karpathy(given).by_ids(ids, ids_path)
        return features, *Karpathy(given).by_order(split, len(features), str(root))
    captions = _lines(path, required=True)
    refuse_numbered(path, captions)
    whose = root / f"{split}_caps_image_ids.txt"
    if whose.is_file():
        ids = _image_ids(ids_path, len(features), 1)
        named = ids_path.name if ids_path.is_file() else ""
        return features, ids, read_image_of_captions(whose, captions, ids, named)
    rows = len(features)
    if len(captions) % rows:
        raise InputError(
            f"{root}: {len(captions)} lines in {split}_caps.txt for {rows} rows of features; "
            "expected the same number of captions for every image, or whose each is in "
            f"{whose.name}"
        )
    per_image = len(captions) // rows
    if per_image == 1 and _repeats(features):
        features, per_image = features[::CAPTIONS_PER_IMAGE], CAPTIONS_PER_IMAGE
    return (
        features,
        _image_ids(ids_path, len(features), per_image),
        Captions.equal(captions, max(per_image, 1)),
    )


def _repeats(features: NDArray[Any]) -> bool:
    """Whether the rows hold every image five times, once per caption.

    Groups of rows are compared until one is not a repeated image, usually the first.
    """
    if len(features) % CAPTIONS_PER_IMAGE:
        return False
    for group in range(0, len(features), CAPTIONS_PER_IMAGE):
        if not (features[group : group + CAPTIONS_PER_IMAGE] == features[group]).all():
            return False
        release_pages(features)
    return True


def _image_ids(path: Path, images: int, per_image: int) -> list[str]:
    """One id per image, of a file that has it once or once per caption."""
    lines = _lines(path, required=False)
    if not lines:
        return [str(number) for number in range(images)]
    runs = [line for line, before in zip(lines, ["", *lines], strict=False) if line != before]
    if len(lines) != images and len(runs) == images:
        lines = runs
    elif len(lines) == images * per_image and per_image > 1:
        lines = lines[::per_image]
    if len(lines) != images:
        raise InputError(
            f"{path}: {len(lines)} ids for {images} images; expected one an image or one a caption"
        )
    ids = [line.strip() for line in lines]
    double = first_repeated(ids)
    if double is not None:
        raise InputError(f"{path}: id {double!r} stands for two images; ids must be unique")
    return ids


def _refuse_mixed(path: Path, lines: list[str], per_image: int) -> None:
    """Refuse several ids per image that are not one and the same.

    Raises:
        InputError: They differ.
    """
    for start in range(0, len(lines) if per_image > 1 else 0, per_image):
        group = lines[start : start + per_image]
        if len(set(group)) > 1:
            raise InputError(
                f"{path}: {len(lines)} ids, {per_image} per image, but {group[0]!r} and "
                f"{group[1]!r} differ; expected one id per image"
            )


def _lines(path: Path, *, required: bool) -> list[str]:
    try:
        return read_lines(path)
    except FileNotFoundError as error:
        if required:
            raise InputError(
                f"{path}: no such file; check data= and split= (--data, --split)"
            ) from error
        return []
