"""One reading of a text for two bundles."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.manifest import WordPiece
from itr_deploy.bundle.store import Bundle, list_files, read_bundle, write_manifest
from itr_deploy.errors import BundleError
from itr_deploy.exporters.joint_words import joint_words
from tests.families.cases import _toy
from tests.families.toys import DUAL, WORDS, numbered, registered
from tests.support.exports import Bundles


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture
def known(bundles: Bundles, tmp_path: Path) -> Any:
    """Makes a bundle of some words."""

    def make(words: Sequence[str], **processing: Any) -> Bundle:
        copy = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(_toy(DUAL, bundles)[0], copy)
        (copy / "vocab.json").write_text(json.dumps({"word2idx": numbered(words)}))
        manifest = read_manifest(bundles)
        texts = manifest.texts.model_copy(update={"vocab_size": len(numbered(words))})
        own = manifest.text_processing.model_copy(update=processing)
        update = {"files": list_files(copy), "texts": texts, "text_processing": own}
        write_manifest(copy, manifest.model_copy(update=update))
        return read_bundle(copy)

    return make


def read_manifest(bundles: Bundles) -> Any:
    return read_bundle(_toy(DUAL, bundles)[0]).manifest


def test_equal_vocabularies_need_no_table(known: Any) -> None:
    bundle = known(WORDS)
    words = joint_words(bundle, bundle)
    assert (words.front, words.matcher) == (None, None)
    assert words.vocab_size == len(numbered(WORDS))
    assert words.files["vocab.json"] == bundle.read("vocab.json")


def test_a_word_that_the_dual_encoder_alone_knows_is_unknown_to_the_matcher(known: Any) -> None:
    words = joint_words(known(["a", "dog", "<mask>"]), known(["a", "dog"]))
    assert words.front is None
    assert words.matcher == [0, 1, 2, 3, 4, 5, 3]
    assert words.vocab_size == 7
    assert json.loads(words.files["vocab.json"])["word2idx"] == numbered(["a", "dog", "<mask>"])


def test_every_word_has_the_number_that_each_bundle_was_trained_with(known: Any) -> None:
    words = joint_words(known(["cat", "é", "dog"]), known(["dog", "red", "cat"]))
    joint = json.loads(words.files["vocab.json"])["word2idx"]
    assert joint == numbered(["dog", "red", "cat", "é"])
    assert words.front == [0, 1, 2, 3, 6, 3, 4, 5]
    assert words.matcher == [0, 1, 2, 3, 4, 5, 6, 3]


@pytest.mark.parametrize(("front", "told"), [(True, "lower-cased"), (False, "left")])
def test_another_rule_for_capital_letters_is_a_warning(
    front: bool, told: str, known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "itr_deploy"):
        joint_words(known(WORDS, ascii_case=front), known(WORDS, ascii_case=not front))
    (record,) = caplog.records
    assert f"capital letters beyond A to Z are {told}" in record.getMessage()


def test_another_sentence_splitter_is_refused(known: Any) -> None:
    splitter = known(WORDS).manifest.text_processing.sentence_splitter
    other = {"trained": "untrained", "untrained": "trained"}[splitter]
    with pytest.raises(BundleError, match=f"the sentence splitter is {other}, but {splitter}"):
        joint_words(known(WORDS, sentence_splitter=other), known(WORDS))


def pieces(bundle: Bundle, *, length: int | None = None, tokens: int = 30, **own: Any) -> Bundle:
    """The bundle as one that reads word pieces."""
    (bundle.path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ndog\n")
    processing = WordPiece(vocabulary="vocab.txt", **{"lower_case": True, **own})
    manifest = bundle.manifest
    texts = manifest.texts.model_copy(update={"length": length, "max_tokens": tokens})
    update = {"files": list_files(bundle.path), "texts": texts, "text_processing": processing}
    write_manifest(bundle.path, manifest.model_copy(update=update))
    return read_bundle(bundle.path)


def test_words_and_word_pieces_are_refused_in_one_line(known: Any) -> None:
    words, wordpieces = known(WORDS), pieces(known(WORDS))
    with pytest.raises(BundleError) as raised:
        joint_words(wordpieces, words)
    assert "the text processing is wordpiece, but nltk_words in" in str(raised.value)
    assert str(words.path) in str(raised.value)
    assert str(wordpieces.path) in str(raised.value)


def test_word_pieces_are_cut_as_the_matcher_cuts_them(
    known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "itr_deploy"):
        words = joint_words(pieces(known(WORDS)), pieces(known(WORDS), length=20, tokens=20))
    assert "texts are cut to 20 tokens" in caplog.text
    assert (words.max_tokens, words.front, words.matcher) == (20, None, None)
    with pytest.raises(BundleError, match=r"takes 10 tokens, but .* pads every text to 20"):
        joint_words(pieces(known(WORDS), tokens=10), pieces(known(WORDS), length=20, tokens=20))


def test_word_pieces_read_in_other_ways_are_refused(known: Any) -> None:
    with pytest.raises(BundleError, match="lower-casing is False, but True"):
        joint_words(pieces(known(WORDS), lower_case=False), pieces(known(WORDS)))
    with pytest.raises(BundleError, match="ideographs is joined, but each a word"):
        joint_words(pieces(known(WORDS), ideographs="joined"), pieces(known(WORDS)))
