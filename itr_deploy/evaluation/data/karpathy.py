"""Captions from a JSON file of Karpathy's splits, such as ``dataset_coco.json``.

``images[]`` has an entry per image: ``split`` (train, val, test or restval), ``sentences[].raw``,
and its names ``filename``, ``cocoid`` (MS-COCO alone) and ``imgid``. Images have five captions or
more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from itr_deploy.bundle.names import first_repeated, shortened
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.captions import Captions

PATTERN = "dataset_*.json"
OTHER_NAMES = {"dev": "val", "testall": "test"}
"""What the field's feature files call a split, and what the JSON calls it."""
KEYS = ("cocoid", "filename", "imgid")
"""What ids can be, in the order in which they are tried."""


@dataclass(frozen=True)
class Picture:
    """One image of the file.

    Attributes:
        split: Its split.
        names: What it is called, by the key.
        captions: Its captions.
    """

    split: str
    names: dict[str, str]
    captions: list[str]


class Karpathy:
    """The images of such a file, in its order."""

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            InputError: It cannot be read, or is another kind of file.
        """
        self._path = path
        self._pictures = [
            _picture(f"{path}: images[{number}]", entry)
            for number, entry in enumerate(_entries(path))
        ]

    def by_order(self, split: str, rows: int, features: str) -> tuple[list[str], Captions]:
        """Ids and captions of a split whose features are in this file's order.

        Args:
            split: The split.
            rows: Number of rows of features.
            features: Where they are, for the message.

        Raises:
            InputError: The file has no such split, or another number of images in it.
        """
        found = sorted({picture.split for picture in self._pictures})
        name = split if split in found else OTHER_NAMES.get(split, split)
        chosen = [picture for picture in self._pictures if picture.split == name]
        if not chosen:
            raise InputError(f"{self._path}: no image of split {name!r}; it has {', '.join(found)}")
        if len(chosen) != rows:
            raise InputError(
                f"{self._path}: {len(chosen)} images of split {name!r} for {rows} rows in "
                f"{features}; expected one row an image, in the order of the file, or their ids in "
                f"{split}_ids.txt"
            )
        return self._ids(chosen), _captions(chosen)

    def by_ids(self, ids: Sequence[str], path: Path) -> Captions:
        """The captions of images that are called by one of the file's names, in any split.

        Args:
            ids: One id per row of features.
            path: Where the ids are from, for the message.

        Raises:
            InputError: An id is none of the file's.
        """
        unknown: list[list[int]] = []
        for key in (*KEYS, "stem"):
            pictures = {p.names[key]: p for p in self._pictures if key in p.names}
            missing = [number for number, name in enumerate(ids, 1) if name not in pictures]
            if not missing:
                return _captions([pictures[name] for name in ids])
            unknown.append(missing)
        line = min(unknown, key=len)[0]
        raise InputError(
            f"{path}: line {line}: {shortened(ids[line - 1])!r} is no image of {self._path}; "
            f"expected its {', '.join(KEYS[:-1])} or {KEYS[-1]}"
        )

    def _ids(self, chosen: list[Picture]) -> list[str]:
        for key in ("filename", "cocoid", "imgid"):
            names = [picture.names[key] for picture in chosen if key in picture.names]
            if len(names) == len(chosen) and first_repeated(names) is None:
                return names
        return [str(number) for number in range(len(chosen))]


def find_karpathy(root: Path) -> Path | None:
    """The one such file in a directory, None if there is none.

    Raises:
        InputError: There are several.
    """
    found = sorted(path for path in root.glob(PATTERN) if path.is_file())
    if len(found) > 1:
        raise InputError(
            f"{root}: {', '.join(path.name for path in found)} are there; say which holds the "
            "captions, captions= (--captions)"
        )
    return found[0] if found else None


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        said = shortened(str(error))
        raise InputError(f"{path}: not JSON: {said}; expected {PATTERN}") from error
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        raise InputError(
            f"{path}: MS-COCO's annotations, which have no splits; give Karpathy's "
            "dataset_coco.json"
        )
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: no list 'images'; expected Karpathy's {PATTERN}")
    return entries


def _picture(where: str, entry: Any) -> Picture:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: not an object")
    if not isinstance(entry.get("split"), str):
        raise InputError(f"{where}: no 'split'")
    sentences = entry.get("sentences")
    if not isinstance(sentences, list):
        raise InputError(f"{where}: no list 'sentences'")
    names = {key: str(entry[key]).strip() for key in KEYS if isinstance(entry.get(key), (str, int))}
    if "filename" in names:
        names["stem"] = PurePosixPath(names["filename"]).stem
    captions = [_raw(f"{where}.sentences[{n}]", given) for n, given in enumerate(sentences)]
    return Picture(entry["split"], names, captions)


def _raw(where: str, sentence: Any) -> str:
    raw = sentence.get("raw") if isinstance(sentence, dict) else None
    if not isinstance(raw, str) or not raw.strip():
        raise InputError(f"{where}: no text 'raw'")
    return raw.strip()


def _captions(chosen: list[Picture]) -> Captions:
    texts = [caption for picture in chosen for caption in picture.captions]
    counts = [len(picture.captions) for picture in chosen]
    return Captions(texts, np.repeat(np.arange(len(chosen)), counts))
