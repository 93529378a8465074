"""BERT's WordPiece tokenisation, of models that were trained with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.runtime.text.base import check_longest, check_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100
"""Characters; BERT treats a longer word as one unknown word."""


class WordPieceProcessor:
    """``[CLS]``, the pieces of the text, ``[SEP]``, with 0 after them.

    A model of one length pads or cuts texts to it: a longer text is never refused, since the model
    saw only its beginning in training. Another one takes texts as long as they are, up to a limit.
    Only the vocabulary is read.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        lower_case: bool,
        length: int | None,
        most: int = 512,
        *,
        joined_ideographs: bool = False,
    ) -> None:
        """Set up the tokeniser; a token's id is its place.

        Args:
            tokens: The vocabulary.
            lower_case: Whether the model was trained on lower-cased text.
            length: What texts are padded or cut to, None to take them as they are.
            most: Most tokens of a text that is taken as it is.
            joined_ideographs: Whether a run of Chinese characters is one word.
        """
        self._vocabulary = {token: number for number, token in enumerate(tokens)}
        normalizer = _normalizer(lower_case, joined_ideographs)
        self._tokenizer = _tokenizer(self._vocabulary, normalizer, length)
        self._length, self._most = length, most

    @classmethod
    def from_bundle(cls, bundle: Bundle, processing: WordPiece) -> WordPieceProcessor:
        """Read the vocabulary that the manifest names."""
        content = bundle.read(processing.vocabulary).decode("utf-8")
        tokens = content.removesuffix("\n").split("\n")
        texts = bundle.manifest.texts
        joined = processing.ideographs == "joined"
        given = tokens, processing.lower_case, texts.length, texts.max_tokens
        return cls(*given, joined_ideographs=joined)

    @property
    def words(self) -> list[str]:
        """Tokens of the vocabulary that are whole words, of letters and digits only."""
        return [token for token in self._vocabulary if token.isalnum()]

    def token_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts as ids ``int64 [C, L]``, padded with 0, and lengths ``int64 [C]``.

        Raises:
            InputError: A text is empty or holds half of a surrogate pair, or has too many tokens
                for a model that takes texts as long as they are.
        """
        check_texts(texts)
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        lengths = np.array([sum(text.attention_mask) for text in encoded], np.int64)
        width = self._length or int(lengths.max(initial=1))
        if self._length is None:
            check_longest(lengths, self._most)
        ids = np.array([text.ids for text in encoded], np.int64).reshape(-1, width)
        return ids, lengths

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that no pieces of the vocabulary make up."""
        normal = self._tokenizer.normalizer.normalize_str(text)
        words = [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
        pieces = self._tokenizer.model.tokenize
        return [word for word in words if any(piece.value == UNKNOWN for piece in pieces(word))]

    def tokens(self, text: str) -> list[str]:
        """``[CLS]``, the pieces of a text as far as it is read, and ``[SEP]``.

        A word that no pieces make up is there as it is in the text.
        """
        encoded = self._tokenizer.encode(text)
        shown = zip(encoded.tokens, encoded.offsets, encoded.attention_mask, strict=True)
        return [
            text[slice(*place)] if token == UNKNOWN else token
            for token, place, is_read in shown
            if is_read
        ]


def _normalizer(lower_case: bool, joined_ideographs: bool) -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        lowercase=lower_case, handle_chinese_chars=not joined_ideographs
    )


def _tokenizer(vocabulary: dict[str, int], normalizer: Any, length: int | None) -> Tokenizer:
    """BERT's tokeniser, except that names of special tokens in a text are plain text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(token, vocabulary[token]) for token in (START, END)],
    )
    if length is not None:
        tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return tokenizer
