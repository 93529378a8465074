"""The parameters of nltk's English Punkt, which split sentences in training; nothing is unpickled.

They are read from nltk's ``punkt_tab``, a folder or a zip of four text files, or from the
``punkt.json`` of another bundle. Nothing is ever downloaded.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from itr_deploy.errors import CheckpointError, SetupError
from itr_deploy.exporters.vocabulary import PICKLES

FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")
PLACES = ("", "english/", "punkt_tab/english/", "tokenizers/punkt_tab/english/")
LARGEST = 64 << 20
"""Bytes of one file; nltk's largest has less than one million."""

DOWNLOAD = "python -m nltk.downloader punkt_tab"

Read = Callable[[str], bytes | None]


class _NoEnglishError(ValueError):
    """There are no parameters for English at all."""


def given_punkt(path: Path) -> dict[str, Any]:
    """The parameters in a file or folder that a user gives, as JSON.

    Args:
        path: nltk's ``punkt_tab.zip``, its unpacked folder, or the ``punkt.json`` of a bundle.

    Raises:
        CheckpointError: It is none of these, or damaged.
    """
    remedy = f"give nltk's punkt_tab.zip ({DOWNLOAD}), its folder or a bundle's punkt.json"
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}; {remedy}") from error


def machine_punkt() -> dict[str, Any] | None:
    """The parameters in nltk's data on this machine as JSON, None if it has no ``punkt_tab``.

    Raises:
        SetupError: It is damaged.
    """
    folders = [root / "tokenizers" / "punkt_tab" for root in _roots()]
    for path in (*folders, *(folder.with_suffix(".zip") for folder in folders)):
        if path.exists():
            try:
                return _read(path)
            except _NoEnglishError:
                # Of other languages alone; nltk looks further too.
                continue
            except (OSError, ValueError) as error:
                raise SetupError(
                    f"{path}: {_reason(error)}; delete it and run {DOWNLOAD}, or give "
                    "punkt (--punkt punkt_tab.zip)"
                ) from error
    return None


def has_only_pickles() -> bool:
    """Whether this machine has the older ``punkt`` of nltk, made of pickles, which nobody reads."""
    return any((root / "tokenizers" / "punkt").exists() for root in _roots())


def _roots() -> list[Path]:
    import nltk.data

    return [Path(root) for root in nltk.data.path]


def _read(path: Path) -> dict[str, Any]:
    """The parameters in a folder, a zip or a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or something else.
    """
    if path.is_dir():
        return _parameters(lambda name: _file(path / name))
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(PICKLES):
        raise ValueError("a Python pickle, not read since it may hold code")
    if not head.startswith(b"PK"):
        return _from_json(_file(path) or b"")
    try:
        with zipfile.ZipFile(path) as archive:
            return _parameters(lambda name: _entry(archive, name))
    except (ValueError, OSError):
        raise
    except Exception as error:  # damaged bytes raise zlib's errors, NotImplementedError and others
        raise ValueError(f"a damaged zip archive ({_reason(error)})") from error


def _file(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST:,} bytes")
    return path.read_bytes()


def _entry(archive: zipfile.ZipFile, name: str) -> bytes | None:
    if name not in archive.namelist():
        return None
    if archive.getinfo(name).file_size > LARGEST:
        raise ValueError(f"{name} is larger than {LARGEST:,} bytes")
    return archive.read(name)


def _parameters(read: Read) -> dict[str, Any]:
    """The parameters in ``punkt_tab``'s text files.

    Raises:
        ValueError: A file is missing or damaged.
    """
    from nltk.tabdata import PunktDecoder

    place = next((place for place in PLACES if read(place + FILES[0]) is not None), None)
    if place is None:
        parts = any(read(place + name) is not None for place in PLACES for name in FILES)
        kind = ValueError if parts else _NoEnglishError
        raise kind(f"no english/{FILES[0]} in it")
    texts = {}
    for name in FILES:
        content = read(place + name)
        if content is None:
            raise ValueError(f"no {place}{name} in it")
        texts[name] = io.StringIO(content.decode("utf-8"), newline=None)
    decoder = PunktDecoder()
    try:
        return _checked(
            {
                "abbrev_types": sorted(decoder.txt2set(texts["abbrev_types.txt"])),
                "collocations": sorted(map(list, set(decoder.tab2tups(texts["collocations.tab"])))),
                "sent_starters": sorted(decoder.txt2set(texts["sent_starters.txt"])),
                "ortho_context": dict(
                    sorted(decoder.tab2intdict(texts["ortho_context.tab"]).items())
                ),
            }
        )
    except IndexError as error:
        raise ValueError("a line of its files is cut") from error


def _from_json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("neither a zip archive nor JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"JSON of a {type(found).__name__}")
    return _checked(found)


def _checked(found: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, each of the form that the runtime reads.

    Raises:
        ValueError: One has another form.
    """
    words = {name: found.get(name) for name in ("abbrev_types", "sent_starters")}
    pairs, context = found.get("collocations"), found.get("ortho_context")
    for name, value in words.items():
        if not _are_words(value):
            raise ValueError(f"its {name} are not a list of words")
    if not isinstance(pairs, list) or not all(_are_words(p) and len(p) == 2 for p in pairs):
        raise ValueError("its collocations are not pairs of words")
    if not isinstance(context, Mapping) or not all(type(n) is int for n in context.values()):
        raise ValueError("its ortho_context is not a number for each word")
    return {**words, "collocations": pairs, "ortho_context": dict(context)}


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _reason(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return " ".join(str(strerror or error).split())[:120] or type(error).__name__
