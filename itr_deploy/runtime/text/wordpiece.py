"""BERT's WordPiece, as DIME was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import check_texts

if TYPE_CHECKING:
    from tokenizers import Token

START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100
"""Characters; BERT makes one unknown word of a longer one."""


class WordPieceProcessor:
    """``[CLS]``, the pieces of the text, ``[SEP]``, padded or cut to one length.

    A longer text is cut, never refused: the model saw its beginning alone in training. Nothing is
    read but the vocabulary.
    """

    def __init__(self, tokens: Sequence[str], lower_case: bool, length: int) -> None:
        """Take the vocabulary, whose ids are its tokens' places, and the padded length."""
        from tokenizers.models import WordPiece as Model
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        vocabulary = {token: number for number, token in enumerate(tokens)}
        self._length = length
        self._vocabulary = vocabulary
        self._start, self._end = vocabulary[START], vocabulary[END]
        self._normalizer = BertNormalizer(lowercase=lower_case)
        self._words = BertPreTokenizer()
        self._pieces = Model(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)

    @classmethod
    def from_bundle(cls, bundle: Bundle, processing: WordPiece) -> WordPieceProcessor:
        """Read the vocabulary that the manifest names."""
        content = bundle.file(processing.vocabulary).read_bytes().decode("utf-8")
        tokens = content.removesuffix("\n").split("\n")
        return cls(tokens, processing.lower_case, bundle.manifest.texts.max_tokens)

    @property
    def words(self) -> list[str]:
        """See `TextProcessor.words`: the tokens that are whole words."""
        return [token for token in self._vocabulary if token.isalnum()]

    def token_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `TextProcessor.token_ids`; no text is too long."""
        check_texts(texts)
        ids = np.zeros((len(texts), self._length), np.int64)
        lengths = np.zeros(len(texts), np.int64)
        for number, text in enumerate(texts):
            pieces = [piece.id for word in self._split(text) for piece in self._tokens(word)]
            row = [self._start, *pieces[: self._length - 2], self._end]
            ids[number, : len(row)] = row
            lengths[number] = len(row)
        return ids, lengths

    def unknown_words(self, text: str) -> list[str]:
        """See `TextProcessor.unknown_words`: the words that no pieces make up."""
        return [
            word
            for word in self._split(text)
            if any(piece.value == UNKNOWN for piece in self._tokens(word))
        ]

    def _split(self, text: str) -> list[str]:
        normal = self._normalizer.normalize_str(text)
        return [word for word, _ in self._words.pre_tokenize_str(normal)]

    def _tokens(self, word: str) -> list[Token]:
        return self._pieces.tokenize(word)
