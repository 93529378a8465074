"""Reading vocabularies in the forms in which people have them; nothing is run or imported.

Whatever names every word's number unambiguously is read. Anything else is named, with what turns
it into a form that is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itr_deploy.errors import CheckpointError
from itr_deploy.exporters.pickled import pickled_vocabulary
from itr_deploy.models.checkpoints.first_bytes import HEAD, foreign, shown

SPECIAL_WORDS = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
PADDING = "[PAD]"
SPECIAL_PIECES = (PADDING, "[CLS]", "[SEP]", "[UNK]")

PICKLES = (b"\x80", b"ccopy_reg\n", b"ccopyreg\n", b"c__main__\n", b"(i", b"(d", b"(l")
"""How a pickle begins, in any protocol that training programs used."""

TORCH = b"\xfc\x9cF\xf9 j\xa8P"
"""Of the number at the beginning of a checkpoint that is a pickle."""

EXPECTED = "expected JSON with a 'word2idx' object"


def read_words(path: Path, size: int, *, appended: str | None = None) -> dict[str, int]:
    """A word vocabulary's numbers by word, 0 to ``size`` - 1.

    Args:
        path: JSON with ``word2idx`` or ``idx2word``, or only what one of them holds; a list of the
            words in order; or a text file of one word per line. UTF-8 or UTF-16. Or a pickle of a
            `Vocabulary`, which is read without unpickling it.
        size: Rows of the model's word embedding.
        appended: A word that the training program appends to those of its file: the file may
            lack it.

    Raises:
        CheckpointError: The file is not a vocabulary, or belongs to another checkpoint.
    """
    name, words = _numbered(_content(path), path)
    if sorted(words.values()) != list(range(len(words))):
        numbers = words.values()
        raise CheckpointError(
            f"{path}: {name} must number its words 0 to n-1, each once; its {len(words)} words "
            f"have numbers from {min(numbers, default=0)} to {max(numbers, default=0)}"
        )
    for word, number in SPECIAL_WORDS.items():
        if words.get(word) != number:
            raise CheckpointError(
                f"{path}: {word} is {words.get(word)}, published vocabularies have it at {number}"
            )
    found = len(words)
    if appended is not None:
        words.setdefault(appended, found)
    if len(words) != size:
        given = "" if appended is None else f", of which it appended {appended} to its file's"
        raise CheckpointError(
            f"{path}: {found} words, but the checkpoint was trained with {size}{given}; "
            "give the vocabulary file of its training"
        )
    return words


def read_pieces(path: Path, size: int) -> list[str]:
    """The tokens of BERT's WordPiece by their ids.

    Args:
        path: ``vocab.txt``, one token per line; or JSON of a list, or of ids by token.
        size: Rows of the model's word embedding.

    Raises:
        CheckpointError: The file is not a vocabulary, or belongs to another checkpoint.
    """
    stored = _stored(path)
    if stored.startswith(PICKLES):
        raise CheckpointError(f"{path}: a Python pickle; expected BERT's vocab.txt")
    text = _text(stored, path)
    content = _json(text)
    if isinstance(content, (dict, list)) and content:
        tokens = _in_order(content, path)
    else:
        tokens = [line.strip() for line in _split(text)]
    missing = [token for token in SPECIAL_PIECES if token not in tokens]
    if missing or tokens.index(PADDING) != 0:
        found = f"no {', '.join(missing)} in it" if missing else f"{PADDING} is not its first line"
        raise CheckpointError(f"{path}: {found}; expected BERT's vocab.txt")
    if len(tokens) != size:
        raise CheckpointError(
            f"{path}: {len(tokens)} tokens, but the checkpoint was trained with {size}; "
            "give the vocabulary file of its training"
        )
    return tokens


def _content(path: Path) -> Any:
    """The value of a JSON file, the lines of another text, or what a pickle would be in JSON."""
    stored = _stored(path)
    if stored.startswith(PICKLES):
        return _pickled(stored, path)
    text = _text(stored, path)
    content = _json(text)
    return _lines(text, path) if content is None else content


def _stored(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        CheckpointError: It cannot be read, or is a checkpoint.
    """
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: a folder or a pipe, not a vocabulary; give a file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot read the vocabulary: {reason}") from error
    if TORCH in content[:32]:
        raise CheckpointError(
            f"{path}: a PyTorch checkpoint, not a vocabulary; give the vocabulary of its training"
        )
    return content


def _pickled(content: bytes, path: Path) -> dict[str, Any]:
    """What a pickled vocabulary would be in JSON.

    Raises:
        CheckpointError: It has more in it than a vocabulary.
    """
    try:
        return pickled_vocabulary(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: {_pickle_remedy(path, str(error))}") from error


def _text(content: bytes, path: Path) -> str:
    """A text in UTF-8, UTF-16 or UTF-32, without a byte-order mark.

    Raises:
        CheckpointError: It is something else.
    """
    # Published vocabularies have <pad> first, and so does a list of words.
    words = content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<pad>")
    found = None if words else foreign(path, content[:HEAD])
    if found is not None or content.startswith(b"PK"):
        what = (found.what, found.remedy) if found else ("a zip archive", "unpack it")
        raise CheckpointError(f"{path}: {what[0]}, not a vocabulary file; {what[1]}")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: not a vocabulary file: neither UTF-8 nor UTF-16, "
            f"{shown(content[error.start : error.start + 1])} at byte {error.start}; "
            "save it as UTF-8"
        ) from error
    return text.removeprefix("\ufeff")


def _pickle_remedy(path: Path, reason: str) -> str:
    # The quotes of the shell are double, so those of Python are single.
    name = path.name.replace("\\", "\\\\").replace("'", "\\'")
    code = (
        f"import json, pickle; v = pickle.load(open('{name}', 'rb'), encoding='utf-8'); "
        "json.dump({'word2idx': getattr(v, 'word2idx', v)}, open('vocab.json', 'w'))"
    )
    refused = f"a Python pickle, not read since it may hold code: {reason}"
    if re.search(r'["$`!]', name):
        return f"{refused}; if you trust it, turn it into JSON: {code}"
    return (
        f"{refused}; if you trust it, in the folder of the program that wrote it, run "
        f'python -c "{code}" and give vocab.json'
    )


def _json(text: str) -> Any:
    """The value of a JSON text, None if it is not one."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _split(text: str) -> list[str]:
    """The lines of a text.

    Not by `str.splitlines`: it would split at characters that are tokens themselves.
    """
    lines = re.split("\r\n|\r|\n", text)
    if not lines[-1]:
        lines.pop()
    return lines


def _lines(text: str, path: Path) -> list[str]:
    """The words of a text file, one per line, in order.

    Raises:
        CheckpointError: It does not begin with the special words.
    """
    lines = [line.strip() for line in _split(text)]
    while lines and not lines[-1]:
        lines.pop()
    if lines[: len(SPECIAL_WORDS)] == list(SPECIAL_WORDS):
        return lines
    what = "JSON that is cut or damaged" if text.lstrip()[:1] in ("{", "[") else "a text file"
    if set(SPECIAL_PIECES) <= set(lines):
        what = "word pieces of a BERT, and this checkpoint has a vocabulary of words"
    raise CheckpointError(
        f"{path}: {what}, not a vocabulary file; {EXPECTED}, or one word per line in the order of "
        f"their numbers, {', '.join(SPECIAL_WORDS)} first"
    )


def _numbered(content: Any, path: Path) -> tuple[str, dict[str, int]]:
    """What a vocabulary's numbers are called there, and the numbers by word.

    Raises:
        CheckpointError: It has another form, or a number is none.
    """
    if isinstance(content, list):
        return "the list", _of_list(content, path)
    if isinstance(content, Mapping):
        if isinstance(content.get("word2idx"), Mapping):
            return "word2idx", _of_words(content["word2idx"], path)
        inverse = content.get("idx2word", content if _keys_are_numbers(content) else None)
        if isinstance(inverse, list):
            return "idx2word", _of_list(inverse, path)
        if isinstance(inverse, Mapping) and inverse:
            return "idx2word", _of_numbers(inverse, path)
        if SPECIAL_WORDS.keys() <= content.keys():
            return "it", _of_words(content, path)
    found = type(content).__name__
    if isinstance(content, Mapping):
        keys = ", ".join(shown(key.encode(errors="replace"), 20) for key in [*content][:3])
        found = f"JSON of {len(content)} entries{', the first ' + keys if keys else ''}"
    raise CheckpointError(f"{path}: {found}, not a vocabulary file; {EXPECTED}")


def _keys_are_numbers(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(key.isdecimal() for key in content)


def _of_words(numbers: Mapping[str, Any], path: Path) -> dict[str, int]:
    return {_word(word, path): _number(number, word, path) for word, number in numbers.items()}


def _of_numbers(words: Mapping[str, Any], path: Path) -> dict[str, int]:
    by_number = {_number(number, number, path): word for number, word in words.items()}
    if by_number.keys() != set(range(len(words))):
        raise CheckpointError(f"{path}: idx2word must number its words 0 to n-1, each once")
    return _of_list([by_number[number] for number in range(len(words))], path)


def _of_list(words: list[Any], path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, entry in enumerate(words):
        word = _word(entry, path)
        if word in found:
            raise CheckpointError(
                f"{path}: {word!a:.40} is there twice, at {found[word]} and {number}; a vocabulary "
                "has each word once"
            )
        found[word] = number
    if not found:
        raise CheckpointError(f"{path}: an empty list, not a vocabulary file; {EXPECTED}")
    return found


def _word(word: Any, path: Path) -> str:
    if not isinstance(word, str):
        raise CheckpointError(
            f"{path}: {word!a:.40} is a {type(word).__name__}, not a word; {EXPECTED}"
        )
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(
            f"{path}: {word!a:.40} has half of a character; write the file anew as UTF-8"
        ) from error
    return word


def _number(number: Any, word: str, path: Path) -> int:
    """A number as an integer, from an integral float or a string of digits too.

    Raises:
        CheckpointError: It is no such number.
    """
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,9}(\.0{1,9})?", number):
        return int(number.partition(".")[0])
    if isinstance(number, float) and number.is_integer() and abs(number) < 1 << 53:
        return int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise CheckpointError(
            f"{path}: the number of {word!a:.40} is {number!a:.40}; words must have the numbers "
            "0 to n-1, each once"
        )
    return number


def _in_order(content: dict[str, Any] | list[Any], path: Path) -> list[str]:
    """Tokens in the order of their ids, from a list, ids by token, or a ``tokenizer.json``."""
    model = content.get("model") if isinstance(content, dict) else None
    if isinstance(model, dict) and isinstance(model.get("vocab"), dict):
        content = model["vocab"]
    if isinstance(content, list):
        return [*_of_list(content, path)]
    if not content.keys() >= {*SPECIAL_PIECES}:
        return [*content]  # is told what it lacks
    numbers = _of_words(content, path)
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise CheckpointError(
            f"{path}: tokens must have the numbers 0 to n-1, each once; give BERT's vocab.txt"
        )
    return sorted(numbers, key=lambda token: numbers[token])
