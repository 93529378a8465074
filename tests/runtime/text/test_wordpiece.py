"""WordPiece at run time, compared with the tokenizer that BERT's users have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from itr_deploy.errors import CheckpointError, InputError
from itr_deploy.exporters.text import wordpiece
from itr_deploy.runtime.text.wordpiece import WordPieceProcessor
from tests.support.dime import DIRECTIONS, I2T, DimeCase

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "un", "##able", "##s", "e", "é"),
    *LETTERS[:20],
    *(f"##{letter}" for letter in LETTERS[:20]),
    *("一", ",", ".", "'", "Cat"),
]
TOKENS = list(dict.fromkeys(TOKENS))
LENGTH = 12

texts = st.text(
    st.one_of(
        st.sampled_from(LETTERS + LETTERS.upper() + " ,.'!#[]"),
        st.sampled_from("éÉñß一犬ＡŁİ\u0301\u200d\u00ad\t\n\x00\x07\u2028\ufffd😀"),
        st.characters(exclude_categories=["Cs"]),
    ),
    min_size=1,
    max_size=60,
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, BertTokenizerFast]:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return {lower: BertTokenizerFast(str(path), do_lower_case=lower) for lower in (True, False)}


def test_tokens_are_the_pieces_as_far_as_they_are_read() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=8)
    shown = processor.tokens("Cats, Zebra unable dog")
    assert shown == ["[CLS]", "cat", "##s", ",", "Zebra", "un", "##able", "[SEP]"]
    assert processor.token_ids(["Cats, Zebra unable dog"])[1] == [len(shown)]
    assert processor.tokens("dog") == ["[CLS]", "dog", "[SEP]"]


@pytest.mark.parametrize("case", DIRECTIONS, ids=lambda case: case.direction)
def test_golden_captions_become_the_published_token_ids(case: DimeCase) -> None:
    tokens = case.vocab.read_text().splitlines()
    ids, lengths = WordPieceProcessor(tokens, lower_case=True, length=12).token_ids(case.captions)
    np.testing.assert_array_equal(ids, case.texts[0])
    np.testing.assert_array_equal(lengths, case.texts[1])


@pytest.mark.parametrize("lower_case", [True, False])
@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_any_text_becomes_berts_ids(
    lower_case: bool, text: str, reference: dict[bool, BertTokenizerFast]
) -> None:
    # The names of special tokens are text to a caption, not tokens.
    text = text.replace("[", "(")
    if not text.strip():
        return
    processor = WordPieceProcessor(TOKENS, lower_case, LENGTH)
    ids, lengths = processor.token_ids([text])
    expected = reference[lower_case](text, truncation=True, max_length=LENGTH)["input_ids"]
    assert ids[0, : lengths[0]].tolist() == expected
    assert not ids[0, lengths[0] :].any()


def test_the_names_of_special_tokens_are_read_as_text() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    ids, lengths = processor.token_ids(["[SEP] cat"])
    assert (ids[0] == TOKENS.index("[SEP]")).sum() == 1
    assert ids[0, lengths[0] - 1] == TOKENS.index("[SEP]")


def test_a_long_text_is_cut_and_keeps_its_end_token() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    ids, lengths = processor.token_ids(["cat " * 40, "cat"])
    assert ids.shape == (2, LENGTH)
    assert lengths.tolist() == [LENGTH, 3]
    assert ids[0, -1] == TOKENS.index("[SEP]")


def test_words_that_no_pieces_make_up_are_named() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    assert processor.unknown_words("Cats, zebra unable 犬") == ["zebra", "犬"]
    assert processor.unknown_words("a" * 101) == ["a" * 101]


def test_an_empty_text_is_refused() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    with pytest.raises(InputError):
        processor.token_ids(["cat", "  "])


def test_half_of_a_character_is_refused_with_its_place() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    with pytest.raises(InputError, match=r"^text 1 has '\\ud83d' at 4, half of a character"):
        processor.token_ids(["cat", "dog \ud83d"])


def test_no_texts_and_texts_without_a_piece_keep_the_padded_length() -> None:
    processor = WordPieceProcessor(TOKENS, lower_case=True, length=LENGTH)
    ids, lengths = processor.token_ids([])
    assert (ids.shape, ids.dtype, lengths.shape, lengths.dtype) == (
        (0, LENGTH), np.int64, (0,), np.int64,
    )  # fmt: skip
    ids, lengths = processor.token_ids(["\x00", "\u200d"])
    assert ids[:, :2].tolist() == [[TOKENS.index("[CLS]"), TOKENS.index("[SEP]")]] * 2
    assert lengths.tolist() == [2, 2]
    assert not ids[:, 2:].any()


class TestVocabularyFiles:
    def check(self, path: Path, content: bytes, size: int) -> list[str]:
        path.write_bytes(content)
        text = wordpiece(path, size, lower_case=True)
        stored = text.files["vocab.txt"]
        assert isinstance(stored, str)
        return stored.removesuffix("\n").split("\n")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("last", [True, False])
    def test_lines_are_tokens_whatever_ends_them(
        self, end: str, last: bool, tmp_path: Path
    ) -> None:
        content = end.join(TOKENS) + (end if last else "")
        assert self.check(tmp_path / "vocab.txt", content.encode(), len(TOKENS)) == TOKENS

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\xff\xe9", "UTF-8"),
            (b"[CLS]\n[SEP]\n[UNK]\n", "no \\[PAD\\]"),
            (b"a\n[PAD]\n[CLS]\n[SEP]\n[UNK]\n", "not its first line"),
            (b"[PAD]\n[CLS]\n[SEP]\n[UNK]\na\n", "5 tokens, but .* 9"),
            (b'{"word2idx": {}}', "expected BERT's vocab.txt"),
        ],
    )
    def test_what_is_not_the_vocabulary_is_refused(
        self, content: bytes, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(CheckpointError, match=message):
            self.check(tmp_path / "vocab.txt", content, 9)

    def test_the_golden_vocabulary_is_kept_as_it_is(self, tmp_path: Path) -> None:
        content = I2T.vocab.read_bytes()
        tokens = self.check(tmp_path / "vocab.txt", content, 60)
        assert tokens == content.decode().splitlines()


def test_words_are_the_tokens_that_are_whole_words() -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "##s", ",", "一"]
    assert WordPieceProcessor(tokens, lower_case=True, length=12).words == ["cat", "一"]
