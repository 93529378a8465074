from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nltk
import nltk.tokenize
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nltk.tokenize.punkt import PunktTrainer, save_punkt_params

from itr_deploy.errors import CheckpointError
from itr_deploy.exporters.text import nltk_words, trained_punkt
from itr_deploy.runtime.text.words import NltkWordProcessor
from tests.support.golden import FULL

CORPUS = """
Dr. Brown met Mr. Grey at 5 p.m. on Monday. They talked about the U.S. economy. Mr. Grey left.
Prof. Green and Dr. Black wrote to Mr. White. The letter came at 9 a.m. on Friday. Dr. Black saw
it first. However, Prof. Green was in the U.S. then. Mr. White told Dr. Brown about it at 7 p.m.
and Dr. Brown laughed. However, Mr. Grey did not. No. 5 was sold to Mr. White by Prof. Green.
"""
SPECIAL = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}


@pytest.fixture
def no_nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """nltk looks for its data in an empty directory alone."""
    root = tmp_path / "nltk_data"
    root.mkdir()
    monkeypatch.setattr(nltk.data, "path", [str(root)])
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    yield root
    nltk.tokenize._get_punkt_tokenizer.cache_clear()


@pytest.fixture
def trained_nltk_data(no_nltk_data: Path) -> Path:
    """Punkt's English parameters, trained on a few sentences, where nltk looks for them."""
    trainer = PunktTrainer()
    trainer.INCLUDE_ALL_COLLOCS = True
    trainer.ABBREV = 0.01
    trainer.train(CORPUS * 20, finalize=True)
    directory = no_nltk_data / "tokenizers" / "punkt_tab" / "english"
    directory.mkdir(parents=True)
    save_punkt_params(trainer.get_params(), str(directory))
    return no_nltk_data


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(path: Path, size: int = 40) -> str:
    with pytest.raises(CheckpointError) as caught:
        nltk_words(path, size)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_the_published_vocabulary_is_bundled_word_for_word(no_nltk_data: Path) -> None:
    bundled = nltk_words(FULL.vocab, 40)
    published = json.loads(FULL.vocab.read_bytes())["word2idx"]
    assert bundled.files == {"vocab.json": {"word2idx": published}}
    assert bundled.processing.vocabulary == "vocab.json"


def test_a_vocabulary_of_another_size_is_refused_with_both_sizes() -> None:
    message = refusal(FULL.vocab, 41)
    assert "40 words" in message
    assert "41" in message


@pytest.mark.parametrize(
    "content",
    ["", "{", "nonsense", "[]", "{}", '{"word2idx": 3}', '{"word2idx": []}', "\xff", "[" * 100_000],
)
def test_a_file_that_is_no_vocabulary_is_refused(content: str, tmp_path: Path) -> None:
    refusal(write(tmp_path / "vocab.json", content))


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.json")


@pytest.mark.parametrize(
    "numbers",
    [{"a": 4, "b": 4}, {"a": 5, "b": 6}, {"a": -1, "b": 4}, {"a": "4", "b": 5}, {"a": 4.5}],
)
def test_numbers_that_are_not_0_to_n_are_refused(numbers: dict, tmp_path: Path) -> None:
    path = write(tmp_path / "vocab.json", {"word2idx": {**SPECIAL, **numbers}})
    assert "0 to n-1" in refusal(path, 4 + len(numbers))


@pytest.mark.parametrize("word", SPECIAL)
def test_special_words_at_other_numbers_are_named(word: str, tmp_path: Path) -> None:
    words = {**SPECIAL, "a": SPECIAL[word], word: 4}
    path = write(tmp_path / "vocab.json", {"word2idx": words})
    message = refusal(path, 5)
    assert f"{word} is 4" in message
    assert f"have it at {SPECIAL[word]}" in message


def test_without_nltk_data_the_bundle_says_that_punkt_is_untrained(no_nltk_data: Path) -> None:
    processing = nltk_words(FULL.vocab, 40).processing
    assert (processing.sentence_splitter, processing.punkt) == ("untrained", None)


def test_trained_punkt_goes_into_the_bundle(trained_nltk_data: Path) -> None:
    bundled = nltk_words(FULL.vocab, 40)
    assert bundled.processing.sentence_splitter == "trained"
    assert bundled.processing.punkt == "punkt.json"
    assert "dr" in bundled.files["punkt.json"]["abbrev_types"]
    assert json.loads(json.dumps(bundled.files)) == bundled.files


SEPARATELY = (
    "Dr. Mr. Prof. U.S. p.m. e.g. No. 5 3.5 ... ! ? , (a) don't cannot However They The dog"
)
WORDS = st.sampled_from(SEPARATELY.split())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=1, max_size=25))
def test_the_runtime_splits_as_nltk_does_with_its_trained_data(
    words: list[str], trained_nltk_data: Path
) -> None:
    text = " ".join(words)
    stored = json.loads(json.dumps(trained_punkt()))
    splitter = NltkWordProcessor(SPECIAL, stored, 256)
    assert splitter.unknown_words(text) == nltk.word_tokenize(text.lower())


def test_trained_and_untrained_punkt_do_split_differently(trained_nltk_data: Path) -> None:
    text = "dr. brown"
    trained = NltkWordProcessor(SPECIAL, trained_punkt(), 256).unknown_words(text)
    untrained = NltkWordProcessor(SPECIAL, None, 256).unknown_words(text)
    assert trained == nltk.word_tokenize(text) == ["dr.", "brown"]
    assert untrained == ["dr", ".", "brown"]
