"""The part of a model's text processing that a bundle contains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from itr_deploy.bundle.manifest import NltkWords, TextProcessing, WordPiece
from itr_deploy.exporters.punkt import DOWNLOAD, given_punkt, has_only_pickles, machine_punkt
from itr_deploy.exporters.vocabulary import SPECIAL_WORDS, read_pieces, read_words
from itr_deploy.runtime.text.words import lower_cased

__all__ = ["SPECIAL_WORDS", "BundledText", "bundled_text", "nltk_words", "wordpiece"]

VOCABULARY = "vocab.json"
PUNKT = "punkt.json"
PIECES = "vocab.txt"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BundledText:
    """The manifest's entry and the files it names: JSON values, or the text of a text file."""

    processing: TextProcessing
    files: dict[str, Any]


def nltk_words(
    vocabulary: Path,
    vocab_size: int,
    *,
    punkt: Path | None = None,
    appended: str | None = None,
    ascii_case: bool = False,
) -> BundledText:
    """Text processing by nltk's words over a published vocabulary file.

    Warns where tokens may not be those of the training.

    Args:
        vocabulary: ``{"word2idx": {...}, "idx2word": {...}, "idx": n}``, or another form that
            `read_words` takes.
        vocab_size: Rows of the model's word embedding.
        punkt: What split sentences in training, see `given_punkt`; by default nltk's data on this
            machine.
        appended: A word that the training program appends to those of its vocabulary file.
        ascii_case: Whether the training lower-cased A to Z alone, as programs under Python 2 did.

    Raises:
        CheckpointError: A file is not what it should be, or belongs to another checkpoint.
        SetupError: nltk's data on this machine is damaged.
    """
    words = read_words(vocabulary, vocab_size, appended=appended)
    parameters = machine_punkt() if punkt is None else given_punkt(punkt)
    files: dict[str, Any] = {VOCABULARY: {"word2idx": words}}
    if parameters is None:
        log.warning("%s", _untrained(words))
    else:
        files[PUNKT] = parameters
    capitals = [word for word in words if word != lower_cased(word, ascii_case)]
    if capitals:
        log.warning(
            "%s: texts are lower-cased, so that %s of its words %s never found: %s",
            vocabulary,
            len(capitals),
            "is" if len(capitals) == 1 else "are",
            _first(capitals),
        )
    return BundledText(
        NltkWords(
            vocabulary=VOCABULARY,
            sentence_splitter="untrained" if parameters is None else "trained",
            punkt=None if parameters is None else PUNKT,
            ascii_case=ascii_case,
        ),
        files,
    )


def words_at_stake(words: Iterable[str]) -> list[str]:
    """Words with a letter and a full stop, which untrained Punkt may take apart.

    >>> words_at_stake(["a", ".", "3.5", "u.s.", "st."])
    ['u.s.', 'st.']
    """
    return [word for word in words if "." in word and any(map(str.isalpha, word))]


def _untrained(words: Iterable[str]) -> str:
    """The warning that sentences are split otherwise than in training."""
    stake, older = words_at_stake(words), ""
    if has_only_pickles():
        older = " (only its older punkt is there, whose pickles are not read)"
    lost = "no word of the vocabulary has a full stop in it"
    if stake:
        lost = f"{len(stake)} words of the vocabulary may be missed: {_first(stake)}"
    return (
        "the sentence splitter is not that of the training: nltk's punkt_tab is not on this machine"
        f"{older}, so that abbreviations end sentences and are split otherwise; {lost}; "
        f"run {DOWNLOAD}, or give punkt (--punkt punkt_tab.zip), and export again"
    )


def _first(words: Sequence[str]) -> str:
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return ", ".join(words[:5]) + more


def wordpiece(
    vocabulary: Path,
    vocab_size: int,
    *,
    lower_case: bool,
    ideographs: Literal["joined"] | None = None,
) -> BundledText:
    """Text processing by BERT's WordPiece over its ``vocab.txt``.

    Args:
        vocabulary: One token per line; its id is its line number, from 0.
        vocab_size: Rows of the model's word embedding.
        lower_case: Whether the model was trained on lower-cased text.
        ideographs: ``"joined"`` where its tokeniser takes a run of Chinese characters as one word.

    Raises:
        CheckpointError: The file is not a vocabulary, or belongs to another checkpoint.
    """
    tokens = read_pieces(vocabulary, vocab_size)
    return BundledText(
        WordPiece(vocabulary=PIECES, lower_case=lower_case, ideographs=ideographs),
        {PIECES: "".join(f"{token}\n" for token in tokens)},
    )


BUILDERS: dict[str, Callable[..., BundledText]] = {
    "nltk_words": nltk_words,
    "wordpiece": wordpiece,
}


def bundled_text(kind: str, vocabulary: Path, vocab_size: int, **options: Any) -> BundledText:
    """The text processing of this kind, from the builder of the same name."""
    return BUILDERS[kind](vocabulary, vocab_size, **options)
