"""The protocol of text processing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError


class TextProcessor(Protocol):
    """Turns texts into token ids."""

    @property
    def words(self) -> list[str]:
        """Words that the model knows, of letters and digits only."""
        ...

    def token_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts as ids ``int64 [C, L]``, padded with 0, and lengths ``int64 [C]``.

        Raises:
            InputError: A text is empty or has more tokens than the bundle takes.
        """
        ...

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the model never saw."""
        ...

    def tokens(self, text: str) -> list[str]:
        """What `token_ids` are the ids of, in words; those it never saw as they are in the text."""
        ...


def check_texts(texts: Sequence[str]) -> None:
    """Refuse values that are not strings, texts that are blank, and those that UTF-8 cannot hold.

    Raises:
        InputError: Names the first such text.
    """
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {number} is a {type(text).__name__}, expected a string")
        if not text.strip():
            raise InputError(f"text {number} is empty; give it at least one word")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"text {number} has {text[error.start]!a} at {error.start}, half of a character "
                "that takes two; decode it again as UTF-16"
            ) from error


def check_longest(lengths: NDArray[np.int64], max_tokens: int) -> None:
    """Refuse texts of more than ``max_tokens`` tokens.

    Raises:
        InputError: Names the first such text.
    """
    for number in np.flatnonzero(lengths > max_tokens)[:1]:
        raise InputError(
            f"text {number} has {lengths[number]} tokens; this bundle takes at most {max_tokens}, "
            "shorten it"
        )


def pad_ids(
    rows: Sequence[Sequence[int]], max_tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lists of ids as a padded array and lengths.

    Raises:
        InputError: A text has more than ``max_tokens`` tokens.
    """
    lengths = np.array([len(row) for row in rows], np.int64)
    check_longest(lengths, max_tokens)
    ids = np.zeros((len(rows), int(lengths.max(initial=0))), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids, lengths
