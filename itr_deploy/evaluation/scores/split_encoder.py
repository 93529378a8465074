"""A split's images and captions as inputs of a bundle: checked once, encoded part by part."""

from __future__ import annotations

from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.data.split import Split
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.sources import ImageSource, TextSource
from itr_deploy.runtime.matcher import Matcher


class SplitItems:
    """A split that is ready to be encoded.

    Attributes:
        matcher: Encodes it.
        split: The data.
        images: Its images.
        captions: Its captions, with their words looked up.
    """

    def __init__(self, matcher: Matcher, split: Split) -> None:
        """Check the split's shapes and look up its words.

        Raises:
            InputError: The split does not fit the bundle.
        """
        self.matcher, self.split = matcher, split
        self.images = ImageSource(matcher, split.given)
        self.captions = TextSource(matcher, split.captions)

    def encode_images(self, part: slice) -> Encoded:
        """The encoding of some images; the pages read from their file are released afterwards.

        Raises:
            InputError: Regions are not finite.
        """
        encoded = self.images.encode(part)
        release_pages(self.split.regions)
        return encoded

    def encode_captions(self, part: slice) -> Encoded:
        """The encoding of some captions."""
        return self.captions.encode(part)

    @property
    def image_bytes(self) -> int:
        """Bytes of an encoded image in float32."""
        return self.matcher.item_bytes("image", self.images.positions)

    @property
    def caption_bytes(self) -> int:
        """Bytes of the longest caption's encoding in float32."""
        return self.matcher.item_bytes("text", self.captions.positions)
