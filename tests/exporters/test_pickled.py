"""Pickled vocabularies are read opcode by opcode; whatever else a pickle can do is refused."""

from __future__ import annotations

import builtins
import collections
import json
import os
import pickle
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError
from itr_deploy.exporters.pickled import MOST_BYTES, pickled_vocabulary
from itr_deploy.exporters.vocabulary import read_pieces, read_words

DATA = Path(__file__).resolve().parent.parent / "data" / "vsrn"
CASES = ("coco", "f30k", "f30k_order_abs")
PUBLISHED = (DATA / "f30k" / "vocab.pkl").read_bytes()
WORDS = json.loads((DATA / "f30k" / "vocab.json").read_bytes())["word2idx"]


@pytest.fixture
def vocabulary(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An object of a class `Vocabulary` in a module of the name that is asked for."""
    name = getattr(request, "param", "vocab")
    module = ModuleType(name)
    kind = type("Vocabulary", (), {"__module__": name})
    vars(module)["Vocabulary"] = kind
    before = sys.modules.get(name)
    sys.modules[name] = module
    made = kind()
    made.word2idx = dict(WORDS)
    made.idx2word = {number: word for word, number in WORDS.items()}
    made.idx = len(WORDS)
    yield made
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before


@pytest.mark.parametrize("case", CASES)
def test_a_published_pickle_has_the_words_of_its_json(case: str) -> None:
    read = [read_words(DATA / case / f"vocab.{suffix}", 48) for suffix in ("pkl", "json")]
    assert read[0] == read[1]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("vocabulary", ["vocab", "__main__"], indirect=True)
def test_a_vocabulary_of_todays_python_is_read(vocabulary: Any, protocol: int) -> None:
    found = pickled_vocabulary(pickle.dumps(vocabulary, protocol))
    inverse = {str(number): word for word, number in WORDS.items()}
    assert found == {"word2idx": WORDS, "idx2word": inverse}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_dictionary_is_read(protocol: int) -> None:
    assert pickled_vocabulary(pickle.dumps(WORDS, protocol)) == WORDS
    many = {f"w{number}": number for number in range(3000)}
    assert pickled_vocabulary(pickle.dumps(many, protocol)) == many


def test_byte_strings_are_utf_8(tmp_path: Path) -> None:
    word = "café".encode()
    content = b"\x80\x02}(U" + bytes([len(word)]) + word + b"K\x04u."
    assert pickled_vocabulary(content) == {"café": 4}
    with pytest.raises(ValueError, match="cut or damaged"):
        pickled_vocabulary(b"\x80\x02}(U\x01\xe9K\x04u.")


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Other:
    word2idx: dict[str, int]


def attacks(evidence: Path) -> dict[str, Any]:
    touch = f"touch {evidence}"
    return {
        "system": Runs(os.system, touch),
        "eval": Runs(eval, f"open({str(evidence)!r}, 'w')"),
        "import": Runs(builtins.__import__, "this"),
        "inside a word": {"word2idx": {"a": Runs(os.system, touch)}},
        "as a key": {Runs(os.system, touch): 4},
        "ordered": collections.OrderedDict(WORDS),
        "another class": Other(),
        "bytes": {b"a": 4},
        "float": {"a": 4.0},
        "none": {"a": None},
        "list": ["<pad>"],
        "tuple": {("a",): 1},
        "truth": {"a": True},
        "a number": 3,
        "a text": "word2idx",
        "nested": {"word2idx": {"a": {"b": {}}}},
        "a huge number": {"a": 1 << 60},
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", attacks(Path("x")))
def test_anything_else_is_refused_and_never_run(name: str, protocol: int, tmp_path: Path) -> None:
    evidence, path = tmp_path / "executed", tmp_path / "vocab.pkl"
    path.write_bytes(pickle.dumps(attacks(evidence)[name], protocol))
    with pytest.raises(CheckpointError) as caught:
        read_words(path, 48)
    assert len(str(caught.value).splitlines()) == 1
    assert not evidence.exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "it names 'os.system'"),
        (b"c__builtin__\neval\n.", "it names '__builtin__.eval'"),
        (b"c__main__\nVocabulary.__init__\n.", "it names"),
        (b"c__main__\nVocabulary\n)R.", "opcode REDUCE"),
        (b"c__main__\nVocabulary\nK\x01\x85\x81.", "opcode TUPLE1"),
        (b"K\x01)\x81.", "unknown way"),
        (b"(ios\nsystem\n.", "opcode INST"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"Pid\n.", "opcode PERSID"),
        (b"c__main__\nVocabulary\n)\x81K\x01b.", "unknown way"),
        (b"}}b.", "unknown way"),
        (b"c__main__\nVocabulary\n)\x81}b.", "neither word2idx nor idx2word"),
        (b"c__main__\nVocabulary\n)\x81}X\x08\x00\x00\x00word2idxK\x01sb.", "in the place of"),
        (b"c__main__\nVocabulary\n.", "in the place of"),
        (b"}q\x00X\x01\x00\x00\x00ah\x00s.", "inside dictionaries"),
        (b"h\x07.", "cut or damaged"),
        (b"}(K\x01u.", "cut or damaged"),
        (b"}u.", "cut or damaged"),
        (b".", "cut or damaged"),
        (b"}", "cut or damaged"),
        (b"\xff.", "cut or damaged"),
        (b"L" + b"9" * 6000 + b"L\n.", "cut or damaged"),
        (b"\x8b\xff\xff\xff\x7f.", "cut or damaged"),
        (b"\x8d" + struct.pack("<Q", 1 << 62) + b".", "cut or damaged"),
    ],
)
def test_a_crafted_pickle_is_refused_by_name(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pickled_vocabulary(b"\x80\x02" + body)


def test_dictionaries_in_dictionaries_without_end_are_refused() -> None:
    content = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 20_000 + b"K\x01" + b"s" * 20_000 + b"."
    with pytest.raises(ValueError, match="inside dictionaries"):
        pickled_vocabulary(content)


def test_a_pickle_without_bounds_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "vocab.pkl"
    path.write_bytes(b"\x80\x02" + b"}" * MOST_BYTES)
    began = time.monotonic()
    with pytest.raises(CheckpointError, match="4,194,306 bytes, more than 4,194,304"):
        read_words(path, 48)
    assert time.monotonic() - began < 2


def read_or_refused(content: bytes) -> str:
    try:
        pickled_vocabulary(content)
    except ValueError as error:
        return str(error)
    return "read"


@settings(deadline=None)
@given(cut=st.integers(0, len(PUBLISHED) - 1), put=st.binary(max_size=4))
def test_a_damaged_pickle_is_read_or_one_clear_line(cut: int, put: bytes) -> None:
    assert read_or_refused(PUBLISHED[:cut]) == "it is cut or damaged"
    changed = PUBLISHED[:cut] + put + PUBLISHED[cut + len(put) :]
    assert len(read_or_refused(changed).splitlines()) == 1


@settings(deadline=None)
@given(body=st.binary(max_size=60))
def test_any_opcodes_are_read_or_one_clear_line(body: bytes) -> None:
    assert len(read_or_refused(b"\x80\x02" + body).splitlines()) == 1


def test_wordpieces_are_not_read_from_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(PUBLISHED)
    with pytest.raises(CheckpointError, match=r"a Python pickle; expected BERT's vocab\.txt"):
        read_pieces(path, 48)
