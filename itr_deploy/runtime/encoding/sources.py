"""Items as users give them: checked whole at once, encoded slice by slice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import ArrayLike

from itr_deploy.bundle.manifest import Modality
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding import encode as encoding
from itr_deploy.runtime.encoding.checks import check_regions, check_token_ids
from itr_deploy.runtime.encoding.encoded import Encoded

if TYPE_CHECKING:
    from itr_deploy.runtime.matcher import Matcher


class Source(Protocol):
    """Images or texts: how many, how many regions or words each at most, and their encoding."""

    count: int
    positions: int

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """Slices that cover all items, and their encoding, each within ``budget`` bytes."""
        ...

    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the items."""
        ...


class SlicedSource(ABC):
    """Shared by the sources whose items are made slice by slice."""

    modality: Modality
    count: int
    positions: int

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """See `Source.tiles`."""
        step = max(1, budget // self._matcher.item_bytes(self.modality, self.positions))
        for start in range(0, self.count, step):
            part = slice(start, min(start + step, self.count))
            yield part, self.encode(part)

    @abstractmethod
    def encode(self, part: slice) -> Encoded:
        """See `Source.encode`."""


class ImageSource(SlicedSource):
    """Region features ``[N, R, Di]``, in memory or mapped from disk."""

    modality: Modality = "image"

    def __init__(self, matcher: Matcher, regions: ArrayLike) -> None:
        super().__init__(matcher)
        self._regions = check_regions(regions, matcher.bundle.manifest.images)
        self.count, self.positions = self._regions.shape[:2]

    def encode(self, part: slice) -> Encoded:
        """See `Source.encode`."""
        manifest = self._matcher.bundle.manifest
        first = part.start or 0
        return encoding.encode_images(
            self._matcher.backend, manifest, self._regions[part], first=first
        )


class TextSource(SlicedSource):
    """Texts, or ``(token_ids, lengths)``."""

    modality: Modality = "text"

    def __init__(self, matcher: Matcher, texts: Any) -> None:
        super().__init__(matcher)
        if isinstance(texts, str):
            raise InputError("expected a list of texts; put the text in a list")
        if not isinstance(texts, Iterable):
            raise InputError(f"expected a list of texts, not a {type(texts).__name__}")
        if not _are_token_ids(texts):
            texts = matcher.text.token_ids(list(texts))
        ids, lengths = texts
        items = matcher.bundle.manifest.texts
        self._ids, self._lengths = check_token_ids(ids, lengths, items)
        self.count = len(self._lengths)
        self.positions = items.length or int(self._lengths.max(initial=1))
        self._widths = encoding.padded_widths(items, self._lengths)

    def encode(self, part: slice) -> Encoded:
        """See `Source.encode`."""
        manifest = self._matcher.bundle.manifest
        return encoding.encode_texts(
            self._matcher.backend,
            manifest,
            self._ids[part],
            self._lengths[part],
            None if self._widths is None else self._widths[part],
        )


class EncodedSource:
    """Items that an ``encode_...`` call returned."""

    def __init__(self, matcher: Matcher, items: Encoded, modality: Modality) -> None:
        bundle = matcher.bundle
        if items.encoding_id != bundle.manifest.encoding_id:
            raise InputError(
                f"{modality}s= was encoded by another bundle ({items.encoding_id[:12]}); "
                f"encode with {bundle.path} ({bundle.manifest.encoding_id[:12]})"
            )
        if items.modality != modality:
            raise InputError(f"{modality}s= was given encoded {items.modality}s")
        self.count = len(items)
        self.positions = max((block.positions for block in items.blocks), default=1)
        self._items = items

    def tiles(self, budget: int) -> Iterator[tuple[slice, Encoded]]:
        """All items at once: they are in memory already."""
        yield slice(0, self.count), self._items

    def encode(self, part: slice) -> Encoded:
        """See `Source.encode`."""
        return self._items.take(part)


def source(matcher: Matcher, items: Any, modality: Modality) -> Source:
    """The source for what a user gave; what is one already is taken as it is.

    Raises:
        InputError: It is not what a matcher takes for this modality.
    """
    if isinstance(items, SlicedSource):
        return items
    if isinstance(items, Encoded):
        return EncodedSource(matcher, items, modality)
    return ImageSource(matcher, items) if modality == "image" else TextSource(matcher, items)


def _are_token_ids(texts: Any) -> bool:
    return isinstance(texts, tuple) and len(texts) == 2 and not isinstance(texts[0], str)
