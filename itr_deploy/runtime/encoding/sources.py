"""Items as users give them: checked all at once, encoded slice by slice."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import InputError
from itr_deploy.runtime.backends.base import Backend
from itr_deploy.runtime.encoding import encode as encoding
from itr_deploy.runtime.encoding.checks import check_token_ids
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.images import checked_images
from itr_deploy.runtime.encoding.pictures import CheckedPictures
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.text import TextProcessor

log = logging.getLogger(__name__)

TOGETHER, PICTURES = 64, 16
"""Items that are encoded and stored at once: regions or texts, and pictures, which take long."""


class Encoder(Protocol):
    """What encodes a source: a bundle and what runs its encoders, as in `Matcher`."""

    @property
    def bundle(self) -> Bundle:
        """The bundle whose encoders run."""
        ...

    @property
    def backend(self) -> Backend:
        """The backend that runs the encoders."""
        ...

    @property
    def text(self) -> TextProcessor:
        """The model's text processing."""
        ...

    def item_bytes(self, modality: Modality, positions: int) -> int:
        """Bytes, in float32, of one encoded item with this many regions or words."""
        ...


class Source(Protocol):
    """Images or texts: their number, the most regions or words per item, and their encoding."""

    count: int
    positions: int
    are_ragged: bool
    """Whether images differ in their numbers of regions."""
    broken: Mapping[int, str]
    """Why pictures were left out as they were encoded, by their numbers."""
    together: int
    """How many items to encode at once where all are stored in the end."""
    have_boxes: bool
    """Whether it is known where images' regions are."""

    def placed(self, number: int) -> Placed | None:
        """Where the regions of an image are, None where that is not known."""
        ...

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """Slices that cover all items, and their encoding, each within ``budget`` bytes."""
        ...

    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the items."""
        ...


class SlicedSource(ABC):
    """Base of the sources that encode their items slice by slice."""

    modality: Modality
    count: int
    positions: int
    are_ragged = False
    broken: Mapping[int, str] = {}
    together = TOGETHER
    have_boxes = False

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def placed(self, number: int) -> Placed | None:
        """Where the regions of an image are, None where that is not known."""
        return None

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """Slices that cover all items, and their encoding, each within ``budget`` bytes."""
        step = max(1, budget // self._encoder.item_bytes(self.modality, self.positions))
        for start in range(0, self.count, step):
            part = slice(start, min(start + step, self.count))
            yield part, self.encode(part)

    @abstractmethod
    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the items."""


class ImageSource(SlicedSource):
    """Region features ``[N, R, Di]``, in memory or mapped from disk, `Regions`, or pictures."""

    modality: Modality = "image"

    def __init__(self, encoder: Encoder, images: Any) -> None:
        super().__init__(encoder)
        self._images = checked_images(images, encoder.bundle.manifest.images)
        self.count, self.positions = len(self._images), self._images.positions
        self.are_ragged, self.have_boxes = self._images.are_ragged, self._images.have_boxes
        if isinstance(self._images, CheckedPictures):
            self.broken, self.together = self._images.broken, PICTURES

    def placed(self, number: int) -> Placed | None:
        """Where the regions of an image are, None where that is not known.

        Raises:
            InputError: A box or the picture's size cannot be used.
        """
        try:
            return self._images.placed(number)
        except InputError as error:
            if self._encoder.bundle.manifest.images.boxes:
                raise
            # This model does not read them.
            log.warning("%s; its boxes are not stored", error)
            return None

    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the images.

        Raises:
            InputError: A value is not finite, a region is all zeros, or a picture cannot be
                decoded.
        """
        manifest = self._encoder.bundle.manifest
        return encoding.encode_images(self._encoder.backend, manifest, self._images, part)


class TextSource(SlicedSource):
    """Texts, or ``(token_ids, lengths)``."""

    modality: Modality = "text"

    def __init__(self, encoder: Encoder, texts: Any) -> None:
        super().__init__(encoder)
        if isinstance(texts, str):
            raise InputError("expected a list of texts; put the text in a list")
        if isinstance(texts, (set, frozenset, Mapping)):
            raise InputError(
                f"expected a list of texts, not a {type(texts).__name__}, which has no order"
            )
        if not isinstance(texts, Iterable):
            raise InputError(f"expected a list of texts, not a {type(texts).__name__}")
        items = encoder.bundle.manifest.texts
        if _are_token_ids(texts):
            ids, lengths = texts
            self._ids, self._lengths = check_token_ids(ids, lengths, items)
        else:
            # No further check: the exporter compared the vocabulary with the encoder, and the text
            # processing itself refuses or cuts texts that are too long.
            self._ids, self._lengths = encoder.text.token_ids(_listed(texts))
        self.count = len(self._lengths)
        self.positions = items.length or int(self._lengths.max(initial=1))
        self._widths = encoding.padded_widths(items, self._lengths)

    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the texts."""
        manifest = self._encoder.bundle.manifest
        return encoding.encode_texts(
            self._encoder.backend,
            manifest,
            self._ids[part],
            self._lengths[part],
            None if self._widths is None else self._widths[part],
            first=part.start or 0,
        )


class EncodedSource:
    """Items that an ``encode_...`` call returned."""

    def __init__(self, encoder: Encoder, items: Encoded, modality: Modality) -> None:
        bundle = encoder.bundle
        if items.encoding_id != bundle.manifest.encoding_id:
            raise InputError(
                f"{modality}s= was encoded by another bundle ({items.encoding_id[:12]}); "
                f"encode with {bundle.path} ({bundle.manifest.encoding_id[:12]})"
            )
        if items.modality != modality:
            raise InputError(f"{modality}s= was given encoded {items.modality}s")
        self.count = len(items)
        sizes = {block.positions for block in items.blocks}
        self.positions = max(sizes, default=1)
        self.are_ragged = modality == "image" and len(sizes) > 1
        self.broken: Mapping[int, str] = {}
        self.together, self.have_boxes = TOGETHER, False
        self._items = items

    def placed(self, number: int) -> Placed | None:
        """None: what an ``encode_...`` call returns has no boxes."""
        return None

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """All items at once, as they are in memory already."""
        yield slice(0, self.count), self._items

    def encode(self, part: slice) -> Encoded:
        """A slice of the items."""
        return self._items.take(part)


def source(encoder: Encoder, items: Any, modality: Modality) -> Source:
    """The source for a user's items; a source that exists already is returned as it is.

    Raises:
        InputError: The items are not what a matcher takes for this modality.
    """
    if isinstance(items, SlicedSource):
        return items
    if isinstance(items, Encoded):
        return EncodedSource(encoder, items, modality)
    return ImageSource(encoder, items) if modality == "image" else TextSource(encoder, items)


def _listed(texts: Iterable[Any]) -> list[Any]:
    try:
        return list(texts)
    except TypeError as error:  # NumPy's arrays without axes
        raise InputError(f"expected a list of texts: {error}") from error


def _are_token_ids(texts: Any) -> bool:
    return isinstance(texts, tuple) and len(texts) == 2 and not isinstance(texts[0], str)
