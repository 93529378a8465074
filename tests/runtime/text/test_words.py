from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktSentenceTokenizer

from itr_deploy import Matcher
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.errors import BundleError, InputError
from itr_deploy.runtime.text.words import NltkWordProcessor
from tests.support.command import python
from tests.support.golden import CASES, FULL, Case

VOCABULARY = json.loads(FULL.vocab.read_bytes())["word2idx"]
START, END, UNKNOWN = 1, 2, 3
SPECIAL = {"<pad>": 0, "<start>": START, "<end>": END, "<unk>": UNKNOWN}


@pytest.fixture(scope="module")
def text() -> NltkWordProcessor:
    return NltkWordProcessor(VOCABULARY, None, 256)


def ids(text: NltkWordProcessor, *texts: str) -> list[list[int]]:
    padded, lengths = text.token_ids(texts)
    return [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_captions_become_the_published_token_ids(
    case: Case, text: NltkWordProcessor
) -> None:
    padded, lengths = text.token_ids(case.captions)
    np.testing.assert_array_equal(lengths, case.lengths)
    width = padded.shape[1]
    np.testing.assert_array_equal(padded, case.token_ids[:, :width])
    assert padded.dtype == lengths.dtype == np.int64


def test_a_text_is_lower_cased_and_framed(text: NltkWordProcessor) -> None:
    assert ids(text, "A Red CAR") == [[START, 4, 20, 26, END]]


PUBLISHED = {
    "A man, in a red shirt.": "a man , in a red shirt .",
    "The woman's dog can't \"jump\"": "the woman 's dog ca n't `` jump ''",
    "A black-and-white dog runs. It jumps": "a black-and-white dog runs . it jumps",
}
"""Captions and their tokens in the programs of SCAN and of models that were built on it."""


@pytest.mark.parametrize(("ascii_case", "cafe"), [(True, "cafÉ"), (False, "café")])
def test_with_ascii_case_only_a_to_z_are_lower_cased(ascii_case: bool, cafe: str) -> None:
    text = NltkWordProcessor(SPECIAL, None, 256, ascii_case=ascii_case)
    for caption, tokens in {**PUBLISHED, "CAFÉ": cafe}.items():
        assert text.unknown_words(caption) == tokens.split()


def test_unknown_words_become_one_id_and_are_named(text: NltkWordProcessor) -> None:
    assert ids(text, "a zeppelin, red") == [[START, 4, UNKNOWN, UNKNOWN, 20, END]]
    assert text.unknown_words("a zeppelin, red Unicorn") == ["zeppelin", ",", "unicorn"]
    assert text.unknown_words("a red car") == []


def test_tokens_are_the_words_of_the_ids_and_unknown_ones_as_they_were_typed(
    text: NltkWordProcessor,
) -> None:
    shown = text.tokens('A Zeppelin, red ZEPPELIN "CAR"')
    assert shown == [
        *("<start>", "a", "Zeppelin", ",", "red", "ZEPPELIN", "``", "car", "''", "<end>"),
    ]
    # In lower case this letter is two.
    assert text.tokens("\u0130 Zeppelin")[2:] == ["zeppelin", "<end>"]


@pytest.mark.parametrize("caption", PUBLISHED)
def test_there_are_as_many_tokens_as_ids(caption: str, text: NltkWordProcessor) -> None:
    (row,) = ids(text, caption)
    assert len(text.tokens(caption)) == len(row)


@pytest.mark.parametrize(
    "query",
    [
        "一只狗在雪地里",
        "собака на снегу",
        "كلب على الثلج",
        "🐕❄️",
        "café",
        "naïve",
        "a\x00b",
    ],
)
def test_other_scripts_and_emoji_are_unknown_words_not_errors(
    query: str, text: NltkWordProcessor
) -> None:
    rows = ids(text, query)
    assert rows[0][0] == START
    assert rows[0][-1] == END
    assert set(rows[0][1:-1]) == {UNKNOWN}


def test_half_of_a_surrogate_pair_is_refused(text: NltkWordProcessor) -> None:
    with pytest.raises(InputError, match=r"^text 1 has '\\ud83d' at 4, half of a character"):
        text.token_ids(["cat", "dog \ud83d"])


def test_words_that_look_special_do_not_escape_the_text(text: NltkWordProcessor) -> None:
    (row,) = ids(text, "<start> <end> <pad>")
    assert row[0] == START
    assert row[-1] == END
    assert set(row[1:-1]) == {UNKNOWN}


@pytest.mark.parametrize("empty", ["", " ", "\n\t", "\u2003"])
def test_a_text_without_a_character_is_refused_by_its_number(
    empty: str, text: NltkWordProcessor
) -> None:
    with pytest.raises(InputError, match="text 1 is empty"):
        text.token_ids(["a dog", empty])


@pytest.mark.parametrize(("value", "kind"), [(3, "int"), (None, "NoneType"), (b"dog", "bytes")])
def test_what_is_no_string_is_refused_by_its_number_and_type(
    value: object, kind: str, text: NltkWordProcessor
) -> None:
    with pytest.raises(InputError, match=f"text 2 is a {kind}, expected a string"):
        text.token_ids(["a dog", "a cat", value])


def test_a_text_of_ten_thousand_words_is_refused_with_its_length(text: NltkWordProcessor) -> None:
    with pytest.raises(InputError) as caught:
        text.token_ids(["a dog", "dog " * 10_000])
    assert "text 1 has 10002 tokens" in str(caught.value)
    assert "at most 256" in str(caught.value)


@pytest.mark.parametrize(("words", "fits"), [(254, True), (255, False)])
def test_the_limit_counts_start_and_end(words: int, fits: bool, text: NltkWordProcessor) -> None:
    if fits:
        assert text.token_ids(["dog " * words])[1].tolist() == [256]
    else:
        with pytest.raises(InputError, match="257 tokens"):
            text.token_ids(["dog " * words])


def test_no_texts_give_no_rows(text: NltkWordProcessor) -> None:
    padded, lengths = text.token_ids([])
    assert (len(padded), len(lengths)) == (0, 0)


SENTENCE = st.text(st.sampled_from("abc .,!?'\"()0Aé\n-dogwith"), min_size=1, max_size=60).filter(
    str.strip
)


@settings(max_examples=200, deadline=None)
@given(sentence=SENTENCE)
def test_words_are_those_of_nltk_with_untrained_punkt(sentence: str) -> None:
    text = NltkWordProcessor(VOCABULARY, None, 256)
    split = [
        word
        for part in PunktSentenceTokenizer().tokenize(sentence.lower())
        for word in NLTKWordTokenizer().tokenize(part)
    ]
    expected = [VOCABULARY.get(word, UNKNOWN) for word in split]
    assert ids(text, sentence) == [[START, *expected, END]]


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(SENTENCE, min_size=1, max_size=6))
def test_a_text_has_the_same_ids_in_a_batch_as_alone(texts: list[str]) -> None:
    text = NltkWordProcessor(VOCABULARY, None, 256)
    assert ids(text, *texts) == [ids(text, one)[0] for one in texts]


def test_the_bundles_processor_is_that_of_its_vocabulary(matcher: Matcher) -> None:
    padded, _ = matcher.text.token_ids(FULL.captions)
    np.testing.assert_array_equal(padded, FULL.token_ids[:, : padded.shape[1]])
    assert matcher.text is matcher.text


def test_words_are_those_of_the_vocabulary_without_marks() -> None:
    vocabulary = {"<start>": 0, "<end>": 1, "<unk>": 2, "dog": 3, "'s": 4, "2nd": 5, ",": 6}
    assert NltkWordProcessor(vocabulary, None, 16).words == ["dog", "2nd"]


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        "{}",
        '{"word2idx": []}',
        '{"word2idx": {"<start>": 1, "<end>": 2}}',
        '{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": 1000000}}',
        '{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": "3"}}',
        '{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": -1}}',
    ],
)
def test_a_vocabulary_of_another_shape_is_one_line(content: str, bundle_copy: Path) -> None:
    manifest = read_bundle(bundle_copy).manifest
    (bundle_copy / "vocab.json").write_text(content)
    write_manifest(bundle_copy, manifest.model_copy(update={"files": list_files(bundle_copy)}))
    matcher = Matcher.load(bundle_copy)
    with pytest.raises(BundleError, match=r"text processing cannot be read \(vocab.json") as caught:
        matcher.encode_texts(["a dog"])
    assert "\n" not in str(caught.value)


def test_texts_are_read_where_the_user_has_no_home(bundle: Path) -> None:
    code = """
import os, pwd, sys

def nobody(uid):
    raise KeyError(uid)

os.environ.pop("HOME", None)
pwd.getpwuid = nobody
from itr_deploy import Matcher
print(Matcher.load(sys.argv[1]).text.unknown_words("a xylophone"), "HOME" in os.environ)
"""
    outcome = python(code, bundle)
    assert outcome.out == "['xylophone'] False\n", outcome.err
