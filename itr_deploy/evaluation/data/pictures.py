"""The pictures of a split, for models that start from pixels.

``{split}_ids.txt`` names them, one id a line, once an image or once a caption, as the published
program does. ``id_mapping.json``, if present, says which file each id is; else the id is the file's
name, with or without its ending. The files lie in ``pictures/``, ``images/`` or beside the ids.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.lines import read_lines
from itr_deploy.runtime.pictures.folder import SUFFIXES

FOLDERS = ("pictures", "images", ".")
MAPPING = "id_mapping.json"


def find_pictures(root: Path, split: str) -> NDArray[np.str_]:
    """The paths of a split's pictures, in the order of its ids; one for a run of equal ids.

    Raises:
        InputError: The ids are missing, or a picture is.
    """
    ids = root / f"{split}_ids.txt"
    try:
        names = [line.strip() for line in read_lines(ids)]
    except FileNotFoundError as error:
        raise InputError(
            f"{ids}: no such file; this model starts from pixels, and the file names the split's "
            "pictures; check data= and split= (--data, --split)"
        ) from error
    known = _mapping(root / MAPPING)
    found: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        if name not in found:
            path = _file(root, known.get(name, name))
            if path is None:
                mapped = f", in {MAPPING} {known[name]!r}" if name in known else ""
                raise InputError(
                    f"{ids}: line {number}: no picture {name!r}{mapped} in "
                    f"{', '.join(str(root / folder) for folder in FOLDERS)}"
                )
            found[name] = str(path)
    runs = [name for name, before in zip(names, ["", *names], strict=False) if name != before]
    return np.array([found[name] for name in runs])


def given_pictures(paths: NDArray[np.str_]) -> list[Path]:
    """Pictures as a matcher takes them."""
    return [Path(path) for path in paths.tolist()]


def _file(root: Path, name: str) -> Path | None:
    """The file of this name, or of this name and an ending, below the directory.

    Links may lead out of it, as data sets are often linked; names may not.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    for folder in FOLDERS:
        path = root / folder / name
        endings = ("", *sorted(SUFFIXES)) if path.suffix.lower() not in SUFFIXES else ("",)
        for ending in endings:
            whole = path.with_name(path.name + ending)
            try:
                if whole.is_file():
                    return whole
            except (OSError, ValueError):  # too long, or a NUL character
                return None
    return None


def _mapping(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
        raise InputError(f"{path}: expected an object of ids and file names")
    return content
