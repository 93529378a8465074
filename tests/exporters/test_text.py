from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import nltk
import nltk.tokenize
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nltk.tokenize.punkt import PunktTrainer, save_punkt_params

from itr_deploy.bundle.manifest import NltkWords
from itr_deploy.exporters.punkt import machine_punkt
from itr_deploy.exporters.text import nltk_words
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


def test_the_published_vocabulary_is_bundled_word_for_word(no_nltk_data: Path) -> None:
    bundled = nltk_words(FULL.vocab, 40)
    published = json.loads(FULL.vocab.read_bytes())["word2idx"]
    assert bundled.files == {"vocab.json": {"word2idx": published}}
    assert bundled.processing.vocabulary == "vocab.json"


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
    stored = json.loads(json.dumps(machine_punkt()))
    splitter = NltkWordProcessor(SPECIAL, stored, 256)
    assert splitter.unknown_words(text) == nltk.word_tokenize(text.lower())


def test_trained_and_untrained_punkt_do_split_differently(trained_nltk_data: Path) -> None:
    text = "dr. brown"
    trained = NltkWordProcessor(SPECIAL, machine_punkt(), 256).unknown_words(text)
    untrained = NltkWordProcessor(SPECIAL, None, 256).unknown_words(text)
    assert trained == nltk.word_tokenize(text) == ["dr.", "brown"]
    assert untrained == ["dr", ".", "brown"]


def dotted_vocabulary(folder: Path, words: Iterable[str]) -> Path:
    path = folder / "vocab.json"
    path.write_text(json.dumps([*SPECIAL, *words]))
    return path


def test_without_nltk_data_the_words_at_stake_are_named(
    no_nltk_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["a", ".", "3.5", "...", "u.s.", "st.", "e.g", "dr.", "mr.", "p.m.", "a.m."]
    nltk_words(dotted_vocabulary(tmp_path, words), 4 + len(words))
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelname == "WARNING"
    assert "not that of the training" in message
    assert "7 words" in message
    assert "u.s., st., e.g, dr., mr. and 2 more" in message
    assert "python -m nltk.downloader punkt_tab" in message
    assert "--punkt" in message


def test_the_warning_comes_where_no_word_is_at_stake_too(
    no_nltk_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nltk_words(FULL.vocab, 40)
    assert "no word of the vocabulary has a full stop" in caplog.text


def test_the_older_pickles_of_nltk_are_named_as_what_they_are(
    no_nltk_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (no_nltk_data / "tokenizers" / "punkt").mkdir(parents=True)
    nltk_words(FULL.vocab, 40)
    assert "older punkt" in caplog.text


def test_with_trained_punkt_nothing_is_said(
    trained_nltk_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nltk_words(FULL.vocab, 40)
    assert caplog.records == []


def test_words_that_no_text_has_are_named(
    trained_nltk_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nltk_words(dotted_vocabulary(tmp_path, ["a", "Dog", "USA"]), 7)
    assert "2 of its words are never found: Dog, USA" in caplog.text


def test_ascii_case_is_written_only_where_a_family_has_it(no_nltk_data: Path) -> None:
    """Otherwise the encodings of bundles that are there already would count as others."""
    usual = nltk_words(FULL.vocab, 40).processing
    assert usual.model_dump(mode="json") == {
        "kind": "nltk_words",
        "vocabulary": "vocab.json",
        "sentence_splitter": "untrained",
        "punkt": None,
    }
    other = nltk_words(FULL.vocab, 40, ascii_case=True).processing
    assert NltkWords.model_validate_json(other.model_dump_json()) == other != usual


def test_with_ascii_case_capitals_beyond_a_to_z_are_found(
    trained_nltk_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = dotted_vocabulary(tmp_path, ["a", "cafÉ", "USA"])
    nltk_words(path, 7, ascii_case=True)
    assert "1 of its words is never found: USA" in caplog.text


def test_a_given_punkt_goes_into_the_bundle_whatever_the_machine_has(
    no_nltk_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "punkt.json"
    path.write_text(json.dumps(SMALL_PUNKT))
    bundled = nltk_words(FULL.vocab, 40, punkt=path)
    assert bundled.processing.sentence_splitter == "trained"
    assert bundled.files["punkt.json"] == SMALL_PUNKT
    assert caplog.records == []


SMALL_PUNKT = {
    "abbrev_types": ["dr", "u.s"],
    "collocations": [["no", "5"]],
    "sent_starters": ["however"],
    "ortho_context": {"the": 46},
}
