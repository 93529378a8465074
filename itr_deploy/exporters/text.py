"""The part of a model's text processing that a bundle contains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.manifest import NltkWords, TextProcessing, WordPiece
from itr_deploy.errors import CheckpointError

SPECIAL_WORDS = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
VOCABULARY = "vocab.json"
PUNKT = "punkt.json"
PADDING = "[PAD]"
SPECIAL_PIECES = (PADDING, "[CLS]", "[SEP]", "[UNK]")
PIECES = "vocab.txt"


@dataclass(frozen=True)
class BundledText:
    """The manifest's entry and the files it names: JSON values, or the text of a text file."""

    processing: TextProcessing
    files: dict[str, Any]


def nltk_words(vocabulary: Path, vocab_size: int) -> BundledText:
    """Text processing by nltk's words over a published vocabulary file.

    Args:
        vocabulary: ``{"word2idx": {...}, "idx2word": {...}, "idx": n}``.
        vocab_size: Rows of the model's word embedding.

    Raises:
        CheckpointError: The file is not a vocabulary, or belongs to another checkpoint.
    """
    words = _read_vocabulary(vocabulary)
    if len(words) != vocab_size:
        raise CheckpointError(
            f"{vocabulary}: {len(words)} words, but the checkpoint was trained with {vocab_size}; "
            "give the vocabulary file of its training"
        )
    punkt = trained_punkt()
    files: dict[str, Any] = {VOCABULARY: {"word2idx": words}}
    if punkt is not None:
        files[PUNKT] = punkt
    return BundledText(
        NltkWords(
            vocabulary=VOCABULARY,
            sentence_splitter="untrained" if punkt is None else "trained",
            punkt=None if punkt is None else PUNKT,
        ),
        files,
    )


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        words = json.loads(path.read_bytes())["word2idx"]
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the vocabulary: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not a vocabulary file; expected JSON with a 'word2idx' object"
        ) from error
    if not isinstance(words, dict) or sorted(words.values(), key=str) != sorted(
        range(len(words)), key=str
    ):
        raise CheckpointError(f"{path}: word2idx must number its words 0 to n-1, each once")
    for word, number in SPECIAL_WORDS.items():
        if words.get(word) != number:
            raise CheckpointError(
                f"{path}: {word} is {words.get(word)}, published vocabularies have it at {number}"
            )
    return words


def trained_punkt() -> dict[str, Any] | None:
    """The parameters of nltk's English Punkt as JSON, None if ``punkt_tab`` is not installed.

    Nothing is ever downloaded.
    """
    import nltk.data
    from nltk.tokenize.punkt import load_punkt_params

    try:
        params = load_punkt_params(nltk.data.find("tokenizers/punkt_tab/english/"))
    except LookupError:
        return None
    return {
        "abbrev_types": sorted(params.abbrev_types),
        "collocations": sorted(map(list, params.collocations)),
        "sent_starters": sorted(params.sent_starters),
        "ortho_context": dict(sorted(params.ortho_context.items())),
    }


def wordpiece(vocabulary: Path, vocab_size: int, *, lower_case: bool) -> BundledText:
    """Text processing by BERT's WordPiece over its ``vocab.txt``.

    Args:
        vocabulary: One token per line; its id is its line number, from 0.
        vocab_size: Rows of the model's word embedding.
        lower_case: Whether the model was trained on lower-cased text.

    Raises:
        CheckpointError: The file is not a vocabulary, or belongs to another checkpoint.
    """
    try:
        tokens = _pieces(vocabulary.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{vocabulary}: cannot read the vocabulary: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{vocabulary}: not a vocabulary file; expected BERT's vocab.txt in UTF-8"
        ) from error
    missing = [token for token in SPECIAL_PIECES if token not in tokens]
    if missing or tokens.index(PADDING) != 0:
        found = f"no {', '.join(missing)} in it" if missing else f"{PADDING} is not its first line"
        raise CheckpointError(f"{vocabulary}: {found}; expected BERT's vocab.txt")
    if len(tokens) != vocab_size:
        raise CheckpointError(
            f"{vocabulary}: {len(tokens)} tokens, but the checkpoint was trained with "
            f"{vocab_size}; give the vocabulary file of its training"
        )
    return BundledText(
        WordPiece(vocabulary=PIECES, lower_case=lower_case),
        {PIECES: "".join(f"{token}\n" for token in tokens)},
    )


def _pieces(content: str) -> list[str]:
    """Tokens of a ``vocab.txt``, one per line.

    `str.splitlines` is not used: it would split at characters that are tokens themselves.
    """
    lines = re.split("\r\n|\r|\n", content)
    if not lines[-1]:
        lines.pop()
    return [line.strip() for line in lines]


BUILDERS: dict[str, Callable[..., BundledText]] = {
    "nltk_words": nltk_words,
    "wordpiece": wordpiece,
}


def bundled_text(kind: str, vocabulary: Path, vocab_size: int, **options: Any) -> BundledText:
    """The text processing of this kind, from the builder of the same name."""
    return BUILDERS[kind](vocabulary, vocab_size, **options)
