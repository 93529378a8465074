"""One text processing for two bundles: the words of both, and each one's numbers for them.

A cascade reads a text once. Its vocabulary has the matcher's words under their numbers, then those
that the dual encoder alone knows; a table in the dual encoder's graph and one in the matcher's give
every word the number that it was trained with, and words that it does not know that of ``<unk>``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from itr_deploy.bundle.manifest import NltkWords, WordPiece
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError
from itr_deploy.runtime.text import text_processor
from itr_deploy.runtime.text.words import UNKNOWN

log = logging.getLogger(__name__)

Table = list[int] | None
"""A bundle's own number for every number of the cascade, None if they are the same."""


@dataclass(frozen=True)
class JointWords:
    """What a cascade reads texts by.

    Attributes:
        files: The content of its text files by name, as bytes.
        vocab_size: How many numbers there are.
        max_tokens: Most tokens of a text.
        front: The dual encoder's numbers.
        matcher: The matcher's.
    """

    files: dict[str, bytes]
    vocab_size: int
    max_tokens: int
    front: Table
    matcher: Table


def joint_words(front: Bundle, matcher: Bundle) -> JointWords:
    """Find what both bundles can read texts by: the matcher's text processing, over both's words.

    Warns where the dual encoder read some texts otherwise in training, which no score depends on.

    Raises:
        BundleError: The bundles read texts in different ways; the message names the first.
    """
    ours, theirs = matcher.manifest, front.manifest
    for what, values in _ways(matcher).items():
        if values != _ways(front)[what]:
            raise BundleError(
                f"{front.path}: {what} is {_ways(front)[what]}, but {values} in {matcher.path}; a "
                "cascade reads a text once, for both of its bundles"
            )
    _check_lengths(front, matcher)
    files = {name: matcher.read(name) for name in ours.text_processing.files}
    longest = min(ours.texts.max_tokens, theirs.texts.max_tokens)
    if isinstance(ours.text_processing, WordPiece):
        return JointWords(files, ours.texts.vocab_size, longest, None, None)
    _warn_of_case(front, matcher)
    own, other = _numbers(matcher), _numbers(front)
    size = ours.texts.vocab_size
    added = [word for word in other if word not in own]
    joint = {**own, **{word: size + place for place, word in enumerate(added)}}
    total = size + len(added)
    if added:
        name = ours.text_processing.vocabulary
        files[name] = json.dumps({"word2idx": joint}, ensure_ascii=False).encode()
    return JointWords(files, total, longest, _table(joint, other, total), _table(joint, own, total))


def _ways(bundle: Bundle) -> dict[str, object]:
    """What must be the same for one reading of a text to be right for both bundles."""
    manifest = bundle.manifest
    processing = manifest.text_processing
    found: dict[str, object] = {"the text processing": processing.kind}
    if isinstance(processing, NltkWords):
        found["the sentence splitter"] = processing.sentence_splitter
        if processing.punkt is not None:
            found["the splitter's parameters"] = manifest.files[processing.punkt].sha256[:12]
    else:
        found["lower-casing"] = processing.lower_case
        found["the reading of ideographs"] = processing.ideographs or "each a word"
        found["the vocabulary"] = manifest.files[processing.vocabulary].sha256[:12]
    return found


def _check_lengths(front: Bundle, matcher: Bundle) -> None:
    ours, theirs = matcher.manifest.texts, front.manifest.texts
    for what, own, other in (
        ("the padded length of a text", ours.length, theirs.length),
        ("the number of texts padded together", ours.padded_together, theirs.padded_together),
    ):
        if other not in (None, own):
            raise BundleError(
                f"{front.path}: {what} is {other}, but {own} in {matcher.path}; a cascade pads a "
                "text once, for both of its bundles"
            )
    if ours.length is not None and ours.length > theirs.max_tokens:
        raise BundleError(
            f"{front.path}: takes {theirs.max_tokens} tokens, but {matcher.path} pads every text "
            f"to {ours.length}"
        )
    if theirs.length is None and ours.length is not None:
        log.warning(
            "texts are cut to %d tokens, as %s takes them; %s read longer ones whole, which only "
            "changes their shortlists",
            *(ours.length, matcher.path, front.path),
        )


def _warn_of_case(front: Bundle, matcher: Bundle) -> None:
    by_bundle = [bundle.manifest.text_processing for bundle in (front, matcher)]
    ascii_alone = [one.ascii_case for one in by_bundle if isinstance(one, NltkWords)]
    if len(set(ascii_alone)) > 1:
        log.warning(
            "capital letters beyond A to Z are %s, as %s reads them; %s does not, which only "
            "changes the shortlists of texts with such letters",
            "left" if ascii_alone[1] else "lower-cased",
            *(matcher.path, front.path),
        )


def _numbers(bundle: Bundle) -> dict[str, int]:
    text_processor(bundle)  # refuses a vocabulary that is none
    found: dict[str, int] = json.loads(bundle.read(bundle.manifest.text_processing.vocabulary))[
        "word2idx"
    ]
    return found


def _table(joint: Mapping[str, int], own: Mapping[str, int], size: int) -> Table:
    """A bundle's own numbers; those of the cascade that no word has are unknown words."""
    table = [own[UNKNOWN]] * size
    for word, number in joint.items():
        table[number] = own.get(word, own[UNKNOWN])
    return None if table == list(range(size)) else table
