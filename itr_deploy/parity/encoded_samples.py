"""Samples encoded by the bundle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StoredTensor
from itr_deploy.bundle.modality import Modality
from itr_deploy.models.contract import Deployed
from itr_deploy.parity.samples import Sample
from itr_deploy.runtime.encoding.encoded import Block, Encoded
from itr_deploy.runtime.matcher import Matcher


class EncodedSample(NamedTuple):
    """A sample's images and texts, encoded in one of two ways; the name says which and how."""

    name: str
    images: Encoded
    texts: Encoded

    @property
    def directions(self) -> tuple[tuple[Encoded, Encoded], ...]:
        """Queries and the items that they search, in both directions."""
        return (self.texts, self.images), (self.images, self.texts)


class SampleEncoder:
    """Encodes samples with a bundle: as a search does, and in one block as its graphs allow."""

    def __init__(self, deployed: Deployed, matcher: Matcher) -> None:
        """Store the exported form and the bundle made from it."""
        self._deployed = deployed
        self._matcher = matcher

    def forms(self, sample: Sample) -> list[EncodedSample]:
        """The sample as a search encodes it, then with texts of all lengths in one block.

        The second is left out if the model fixes the padded length, as it would equal the first,
        or if padding takes part in the encoding, as only the runtime knows how much.
        """
        searched = self.as_searched(sample)
        if self._deployed.text_length is not None or self._deployed.padded_together is not None:
            return [searched]
        name = f"{sample.name}, padded together"
        return [searched, EncodedSample(name, searched.images, self.padded_together(sample))]

    def as_searched(self, sample: Sample) -> EncodedSample:
        """Encode as a search does: texts are in blocks of similar lengths."""
        images = self._matcher.encode_images(sample.given())
        texts = self._matcher.encode_token_ids(sample.token_ids, sample.lengths)
        return EncodedSample(sample.name, images, texts)

    def padded_together(self, sample: Sample) -> Encoded:
        """The sample's texts in one block, with the sample's own padding."""
        found = self.outputs("text", sample)
        tensors = {name: found[f"text_{name}"] for name in self.stored("text")}
        block = Block(np.arange(len(sample.lengths)), tensors, sample.lengths)
        encoding_id = self._matcher.bundle.manifest.encoding_id
        return Encoded("text", found["text_embedding"], (block,), encoding_id)

    def outputs(self, modality: Modality, sample: Sample) -> dict[str, NDArray[np.float32]]:
        """All outputs of an encoder's graph from one call, including padding."""
        run = self._matcher.backend.run
        if modality == "image":
            return run("image_encoder", sample.images)
        inputs = {"token_ids": sample.token_ids, "text_lengths": sample.lengths}
        return run("text_encoder", inputs)

    def stored(self, modality: Modality) -> list[str]:
        """Names of the stored tensors, in the order of the encoder's outputs."""
        image = modality == "image"
        specs: tuple[StoredTensor, ...] = (
            self._deployed.image_tensors if image else self._deployed.text_tensors
        )
        return [spec.name for spec in specs]
