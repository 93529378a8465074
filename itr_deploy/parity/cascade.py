"""The gate for cascades: one appears only if both of its bundles are in it as they were."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import NltkWords
from itr_deploy.parity.joined import COARSE, Figures, Inputs, compare_joined, figures
from itr_deploy.parity.report import ParityReport
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.products import product
from itr_deploy.runtime.text.words import UNKNOWN


def compare_cascade(cascade: Matcher, front: Matcher, matcher: Matcher) -> ParityReport:
    """Compare the coarse product with the dual encoder's, and every graph that scores.

    Each bundle gets the texts in its own words' numbers.
    """
    words = _words(cascade)

    def both(given: Inputs) -> Figures:
        regions, ids, lengths = given
        own = (regions, _numbered(ids, words, _words(matcher)), lengths)
        texts = front.encode_token_ids(_numbered(ids, words, _words(front)), lengths)
        coarse = product(texts.embedding, front.encode_images(regions).embedding)
        return {**figures(matcher, own), COARSE: coarse}

    return compare_joined(cascade, both)


def _words(matcher: Matcher) -> Mapping[str, int]:
    """The numbers of a bundle's words; empty for pieces, which both bundles number alike."""
    processing = matcher.bundle.manifest.text_processing
    if not isinstance(processing, NltkWords):
        return {}
    found: dict[str, int] = json.loads(matcher.bundle.read(processing.vocabulary))["word2idx"]
    return found


def _numbered(
    ids: NDArray[np.int64], words: Mapping[str, int], own: Mapping[str, int]
) -> NDArray[np.int64]:
    """Texts in a bundle's own numbers, of texts in the cascade's."""
    if not words:
        return ids
    numbers = {number: own.get(word, own[UNKNOWN]) for word, number in words.items()}
    rows = [[numbers.get(number, own[UNKNOWN]) for number in row] for row in ids.tolist()]
    return np.array(rows, np.int64)
