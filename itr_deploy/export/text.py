"""What a bundle carries of a model's text processing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.manifest import NltkWords, TextProcessing
from itr_deploy.errors import CheckpointError

SPECIAL_WORDS = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
VOCABULARY = "vocab.json"
PUNKT = "punkt.json"


@dataclass(frozen=True)
class BundledText:
    """The manifest's entry and the files it names, as JSON values."""

    processing: TextProcessing
    files: dict[str, Any]


def nltk_words(vocabulary: Path, vocab_size: int) -> BundledText:
    """Text processing by nltk's words over a published vocabulary file.

    Args:
        vocabulary: ``{"word2idx": {...}, "idx2word": {...}, "idx": n}``.
        vocab_size: Rows of the model's word embedding.

    Raises:
        CheckpointError: The file is not a vocabulary or not the one of this checkpoint.
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
    """The parameters of nltk's English Punkt as JSON, None where ``punkt_tab`` is not installed.

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


BUILDERS: dict[str, Callable[[Path, int], BundledText]] = {"nltk_words": nltk_words}


def bundled_text(kind: str, vocabulary: Path, vocab_size: int) -> BundledText:
    """The text processing of a family's kind, see the functions of that name."""
    return BUILDERS[kind](vocabulary, vocab_size)
