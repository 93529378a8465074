"""The vocabulary of the captions, in the form the field publishes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktSentenceTokenizer

from examples.shapes.files import write_text

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<unk>")

# nltk's word_tokenize without its trained list of abbreviations, which has to be downloaded.
_SENTENCES = PunktSentenceTokenizer()
_WORDS = NLTKWordTokenizer()


def words_of(caption: str) -> list[str]:
    """The lower-cased words and punctuation marks of a caption.

    >>> words_of("A red star. A ring is below it.")
    ['a', 'red', 'star', '.', 'a', 'ring', 'is', 'below', 'it', '.']
    """
    sentences = _SENTENCES.tokenize(caption.lower())
    return [word for sentence in sentences for word in _WORDS.tokenize(sentence)]


def build_vocabulary(captions: Iterable[str]) -> dict[str, int]:
    """The id of every word in the captions, the most common first after the special words."""
    counts = Counter(word for caption in captions for word in words_of(caption))
    by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: i for i, word in enumerate((*SPECIAL_WORDS, *by_frequency))}


def token_ids(caption: str, word2idx: dict[str, int]) -> list[int]:
    """The ids of a caption between `<start>` and `<end>`."""
    return [START, *(word2idx.get(word, UNKNOWN) for word in words_of(caption)), END]


def write_vocabulary(word2idx: dict[str, int], path: Path) -> None:
    """Write the published JSON: both directions and the number of words."""
    idx2word = {str(i): word for word, i in word2idx.items()}
    published = {"word2idx": word2idx, "idx2word": idx2word, "idx": len(word2idx)}
    write_text(path, json.dumps(published, indent=1) + "\n")


def read_vocabulary(path: Path) -> dict[str, int]:
    """The `word2idx` of a published vocabulary file."""
    word2idx: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["word2idx"]
    return word2idx
