"""nltk's word tokenisation over a word vocabulary, which most families were trained with."""

from __future__ import annotations

import json
import os
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import NltkWords
from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import check_texts, pad_ids

START, END, UNKNOWN = "<start>", "<end>", "<unk>"
ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
"""Lower-casing of A to Z alone: what Python 2 does to the bytes of a caption."""


def import_nltk() -> None:
    """Import nltk where the user has no home directory too, as in containers.

    As it is imported it asks where downloads would go, which are never made here, and fails if
    there is no such place.
    """
    homeless = os.path.expanduser("~") == "~"  # noqa: PTH111  # Path.home raises instead
    if homeless:
        os.environ["HOME"] = os.sep
    try:
        import nltk  # noqa: F401
    finally:
        if homeless:
            del os.environ["HOME"]


SPLIT_KEPT = 256
"""Texts whose words are kept for the next question about them."""


class NltkWordProcessor:
    """``word_tokenize`` of nltk on the lower-cased text, framed by ``<start>`` and ``<end>``.

    Sentences are split by Punkt with the parameters given, or by nltk's untrained Punkt. nltk's
    data is neither looked for nor downloaded.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        punkt: Mapping[str, Any] | None,
        max_tokens: int,
        *,
        ascii_case: bool = False,
    ) -> None:
        """Set up the tokeniser.

        Args:
            vocabulary: Ids by word.
            punkt: Punkt's parameters as the exporter wrote them, None for untrained Punkt.
            max_tokens: Most tokens per text, including start and end.
            ascii_case: Lower-case A to Z alone.
        """
        import_nltk()
        from nltk.tokenize import NLTKWordTokenizer
        from nltk.tokenize.punkt import PunktSentenceTokenizer

        self._vocabulary = dict(vocabulary)
        self._max_tokens = max_tokens
        self._ascii_case = ascii_case
        sentences = PunktSentenceTokenizer()
        if punkt is not None:
            sentences._params = _punkt_parameters(punkt)
        # A search asks twice: for a text's ids, and for the words that it does not know.
        self._split = lru_cache(SPLIT_KEPT)(
            partial(_split, sentences, NLTKWordTokenizer(), ascii_case)
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle, processing: NltkWords) -> NltkWordProcessor:
        """Read the files that the manifest names."""
        vocabulary = json.loads(bundle.read(processing.vocabulary))["word2idx"]
        size = bundle.manifest.texts.vocab_size
        for word, number in vocabulary.items():
            if type(number) is not int or not 0 <= number < size:
                raise ValueError(f"the id of {word!r} is {number!r}, not one of 0 to {size - 1}")
        punkt = None
        if processing.punkt is not None:
            punkt = json.loads(bundle.read(processing.punkt))
        return cls(
            vocabulary,
            punkt,
            bundle.manifest.texts.max_tokens,
            ascii_case=processing.ascii_case,
        )

    @property
    def words(self) -> list[str]:
        """Words of the vocabulary, of letters and digits only."""
        return [word for word in self._vocabulary if word.isalnum()]

    def token_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts as ids ``int64 [C, L]``, padded with 0, and lengths ``int64 [C]``.

        Raises:
            InputError: A text is empty or has more tokens than the bundle takes.
        """
        check_texts(texts)
        unknown = self._vocabulary[UNKNOWN]
        rows = [
            [self._vocabulary.get(word, unknown) for word in (START, *self._split(text), END)]
            for text in texts
        ]
        return pad_ids(rows, self._max_tokens)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that are not in the vocabulary."""
        return [word for word in self._split(text) if word not in self._vocabulary]

    def tokens(self, text: str) -> list[str]:
        """``<start>``, the words of a text in lower case, and ``<end>``.

        Words that the model never saw are as they were typed.
        """
        lower, position, shown = lower_cased(text, self._ascii_case), 0, [START]
        for word in self._split(text):
            place = lower.find(word, position)
            position = max(position, place + len(word))
            # nltk writes quotes otherwise, and a few letters are two in lower case.
            typed = place >= 0 and len(lower) == len(text) and word not in self._vocabulary
            shown.append(text[place:position] if typed else word)
        return [*shown, END]


def _split(sentences: Any, words: Any, ascii_case: bool, text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    found = sentences.tokenize(lower_cased(text, ascii_case))
    return tuple(word for sentence in found for word in words.tokenize(sentence))


def lower_cased(text: str, ascii_case: bool) -> str:
    """A text in lower case, of A to Z alone or of every letter that has one.

    >>> lower_cased("CAFÉ", ascii_case=True), lower_cased("CAFÉ", ascii_case=False)
    ('cafÉ', 'café')
    """
    return text.translate(ASCII_LOWER) if ascii_case else text.lower()


def _punkt_parameters(stored: Mapping[str, Any]) -> Any:
    from nltk.tokenize.punkt import PunktParameters

    params = PunktParameters()
    params.abbrev_types = set(stored["abbrev_types"])
    params.collocations = {tuple(pair) for pair in stored["collocations"]}
    params.sent_starters = set(stored["sent_starters"])
    params.ortho_context = defaultdict(int, stored["ortho_context"])
    return params
