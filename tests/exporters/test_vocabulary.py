"""Vocabularies as people have them are read, or named with what turns them into one that is."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError
from itr_deploy.exporters.vocabulary import read_pieces, read_words
from tests.support.dime import I2T
from tests.support.golden import FULL

SPECIAL = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
WHOLE = json.loads(FULL.vocab.read_bytes())
WORDS: dict[str, int] = WHOLE["word2idx"]
IN_ORDER = sorted(WORDS, key=lambda word: WORDS[word])
PIECES = I2T.vocab.read_text(encoding="utf-8").splitlines()


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(path: Path, size: int = 40) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_words(path, size)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_vocabulary_of_another_size_is_refused_with_both_sizes() -> None:
    message = refusal(FULL.vocab, 41)
    assert "40 words" in message
    assert "41" in message


@pytest.mark.parametrize(
    "content",
    ["3", '"a"', '{"word2idx": {}, "idx2word": {}}', '{"0": "<pad>", "2": "a"}', '[["<pad>", 0]]',
     "", "{", "nonsense", "[]", "{}", '{"word2idx": 3}', '{"word2idx": []}', "\xff", "[" * 100_000,
     '{"word2idx": {"a": Infinity}}', "word\n" * 40],
)  # fmt: skip
def test_a_file_that_is_no_vocabulary_is_refused(content: str, tmp_path: Path) -> None:
    refusal(write(tmp_path / "vocab.json", content))


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.json")


@pytest.mark.parametrize(
    "numbers",
    [
        {"a": 4, "b": 4},
        {"a": 5, "b": 6},
        {"a": -1, "b": 4},
        {"a": 4.5},
        {"a": True},
        {"a": "four"},
        {"a": None},
        {"a": [4]},
        {"a": "-4"},
        {"a": "1" * 400},
        {"a": 1e300},
    ],
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


def utf(encoding: str, content: Any = WHOLE) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text.encode(encoding)


@pytest.mark.parametrize(
    "content",
    [
        utf("utf-8-sig"), utf("utf-16"), utf("utf-16-le"), utf("utf-16-be"), utf("utf-32"),
        utf("utf-8", WORDS),
        utf("utf-8", IN_ORDER),
        utf("utf-8", {"word2idx": {word: str(number) for word, number in WORDS.items()}}),
        utf("utf-8", {"word2idx": {word: float(number) for word, number in WORDS.items()}}),
        utf("utf-8", {"idx2word": {number: word for word, number in WORDS.items()}}),
        utf("utf-8", {"idx2word": IN_ORDER, "idx": 40}),
        utf("utf-8", {number: word for word, number in WORDS.items()}),
        utf("utf-8", "\n".join(IN_ORDER)),
        utf("utf-8-sig", "\r\n".join(IN_ORDER) + "\r\n\r\n"),
        utf("utf-16", "\n".join(IN_ORDER)),
    ],
)  # fmt: skip
def test_what_numbers_every_word_is_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    assert read_words(path, 40) == WORDS


@pytest.mark.parametrize("appended", [[], ["<mask>"]])
def test_a_word_that_the_program_appends_may_be_missing_in_the_file(
    appended: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "vocab.json", IN_ORDER + appended)
    assert read_words(path, 41, appended="<mask>") == {**WORDS, "<mask>": 40}


def test_a_word_that_the_program_appends_must_be_among_the_embeddings_rows(tmp_path: Path) -> None:
    for size, content in ((40, IN_ORDER), (41, IN_ORDER[:39]), (41, [*IN_ORDER, "other"])):
        path = write(tmp_path / "vocab.json", content)
        with pytest.raises(CheckpointError, match=f"{len(content)} words.*{size}, .*<mask>"):
            read_words(path, size, appended="<mask>")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>404: Not Found</html>", ("web page", "download")),
        (b"version https://git-lfs.github.com/spec/v1\nsize 12\n", ("Git LFS", "git lfs pull")),
        (utf("utf-8")[:500], ("cut or damaged", "word2idx")),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", ("word pieces of a BERT", "word2idx")),
        (b"\x1f\x8b\x08rest", ("gzip", "gunzip -c")),
        (b"PK\x03\x04rest", ("zip archive", "unpack")),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80", ("a PyTorch checkpoint",)),
        ("<pad>\n<start>\n<end>\n<unk>\ncaf\xe9".encode("latin-1"), ("UTF-8", "byte 29")),
        (utf("utf-8", {"word2idx": {w: n + 1 for w, n in WORDS.items()}}), ("from 1 to 40",)),
        (utf("utf-8", {"words": WORDS}), ("JSON of 1 entries", "'words'", "word2idx")),
        (utf("utf-8", IN_ORDER[:30]), ("30 words", "40")),
        (utf("utf-8", "\n".join(IN_ORDER[:30])), ("30 words", "40")),
        (utf("utf-8", [*IN_ORDER, IN_ORDER[9]]), ("there twice, at 9 and 40",)),
        (b'["<pad>", "<start>", "<end>", "<unk>", "\\ud800"]', ("half of a character",)),
        (b'["<pad>", "<start>", "<end>", "<unk>", 5]', ("5 is a int",)),
    ],
)
def test_what_does_not_is_named(content: bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    message = refusal(path)
    for word in words:
        assert word in message


class Vocabulary:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_never_executed(protocol: int, tmp_path: Path) -> None:
    path, evidence = tmp_path / "vocab.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Vocabulary(evidence), protocol))
    with pytest.raises(CheckpointError):
        read_words(path, 40)
    assert not evidence.exists()


PROGRAM = """
import json, pickle, sys
class Vocabulary(object):
    pass
"""


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("name", ["vocab.pkl", "it's a vocab.pkl"])
def test_the_command_that_is_told_turns_a_pickle_into_a_vocabulary(
    name: str, protocol: int, tmp_path: Path
) -> None:
    (tmp_path / "vocab.py").write_text(PROGRAM)
    write = f"""
import collections, json, pickle, vocab
v = vocab.Vocabulary()
v.word2idx = collections.OrderedDict(json.load(open({str(FULL.vocab)!r}))["word2idx"])
pickle.dump(v, open({name!r}, "wb"), protocol={protocol})
"""
    subprocess.run([sys.executable, "-c", write], check=True, cwd=tmp_path)
    message = refusal(tmp_path / name)
    assert "Python pickle" in message
    command = message.partition("run ")[2].removesuffix(" and give vocab.json")
    python = shutil.which("python3") or sys.executable
    command = command.replace("python", python, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert read_words(tmp_path / "vocab.json", 40) == WORDS


@settings(deadline=None)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers(-3, 50) | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(st.sampled_from([*SPECIAL, "word2idx", "idx2word", "0"]), inner)
        ),
    )
)
@pytest.mark.parametrize("read", [read_words, read_pieces])
def test_any_json_is_a_vocabulary_or_one_clear_line(
    read: Callable[[Path, int], Any], content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        read(path, 4)
    except CheckpointError as error:
        message = str(error)
    else:
        message = f"{path}: read"
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1


@settings(deadline=None)
@given(content=st.binary(max_size=60))
@pytest.mark.parametrize("read", [read_words, read_pieces])
def test_any_bytes_are_one_clear_line(
    read: Callable[[Path, int], Any], content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read(path, 4)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        utf("utf-8", "\n".join(PIECES)),
        utf("utf-8-sig", "\r\n".join(PIECES) + "\r\n"),
        utf("utf-16", "\n".join(PIECES)),
        utf("utf-8", PIECES),
        utf("utf-8", {piece: number for number, piece in enumerate(PIECES)}),
        utf("utf-8", {"model": {"vocab": {piece: n for n, piece in enumerate(PIECES)}}}),
    ],
)
def test_wordpieces_are_read_from_what_numbers_them(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    assert read_pieces(path, len(PIECES)) == PIECES
