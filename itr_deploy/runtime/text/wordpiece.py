"""BERT's WordPiece tokenisation, which DIME was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import check_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100
"""Characters; BERT treats a longer word as one unknown word."""


class WordPieceProcessor:
    """``[CLS]``, the pieces of the text, ``[SEP]``, padded or cut to one length.

    A longer text is cut, never refused: in training the model saw only its beginning. Only the
    vocabulary is read.
    """

    def __init__(self, tokens: Sequence[str], lower_case: bool, length: int) -> None:
        """Set up the tokeniser; a token's id is its place, and texts are padded to ``length``."""
        self._vocabulary = {token: number for number, token in enumerate(tokens)}
        self._tokenizer = _tokenizer(self._vocabulary, lower_case, length)
        self._length = length

    @classmethod
    def from_bundle(cls, bundle: Bundle, processing: WordPiece) -> WordPieceProcessor:
        """Read the vocabulary that the manifest names."""
        content = bundle.read(processing.vocabulary).decode("utf-8")
        tokens = content.removesuffix("\n").split("\n")
        return cls(tokens, processing.lower_case, bundle.manifest.texts.max_tokens)

    @property
    def words(self) -> list[str]:
        """Tokens of the vocabulary that are whole words, of letters and digits only."""
        return [token for token in self._vocabulary if token.isalnum()]

    def token_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts as ids ``int64 [C, L]``, padded or cut to one length, and lengths ``int64 [C]``.

        Raises:
            InputError: A text is empty or holds half of a surrogate pair.
        """
        check_texts(texts)
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        ids = np.array([text.ids for text in encoded], np.int64).reshape(-1, self._length)
        lengths = np.array([sum(text.attention_mask) for text in encoded], np.int64)
        return ids, lengths

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that no pieces of the vocabulary make up."""
        normal = self._tokenizer.normalizer.normalize_str(text)
        words = [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
        pieces = self._tokenizer.model.tokenize
        return [word for word in words if any(piece.value == UNKNOWN for piece in pieces(word))]


def _tokenizer(vocabulary: dict[str, int], lower_case: bool, length: int) -> Tokenizer:
    """BERT's tokeniser, except that names of special tokens in a text are plain text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(token, vocabulary[token]) for token in (START, END)],
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return tokenizer
