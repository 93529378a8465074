"""A WordPiece vocabulary of the captions, in the form of BERT's ``vocab.txt``."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable

from examples.shapes.vocabulary import words_of

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = string.ascii_lowercase + string.digits


def build_pieces(captions: Iterable[str]) -> list[str]:
    """The tokens by id: the special ones, the captions' words, then letters.

    A word that no caption had is split into letters, so that it is spelt out rather than unknown.
    """
    counts = Counter(word for caption in captions for word in words_of(caption))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    letters = [letter for letter in LETTERS if letter not in counts]
    return [*SPECIAL_TOKENS, *words, *letters, *(f"##{letter}" for letter in LETTERS)]
