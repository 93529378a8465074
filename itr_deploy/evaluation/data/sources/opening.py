"""Which format a file or a folder has."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.hdf5.files import Hdf5Files
from itr_deploy.evaluation.data.sources.npy_folder import NpyFolder
from itr_deploy.evaluation.data.sources.npz_folder import NpzFolder
from itr_deploy.evaluation.data.sources.source import Source
from itr_deploy.evaluation.data.sources.tsv import Tables

_FORMATS: dict[str, tuple[str, Callable[[Sequence[Path]], Source]]] = {
    # Some extractors number the parts of a table: .tsv.0, .tsv.1
    ".tsv": (r".+\.tsv(\.\d+)?", Tables),
    ".npz": (r".+\.npz", NpzFolder),
    ".npy": (r".+\.npy", NpyFolder),
    ".hdf5": (r".+\.(hdf5|h5)", Hdf5Files),
}
"""Formats by suffix: what the names of their files match in a folder, and the class."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_OTHERS = {
    b"PK": "is an archive; give the folder of .npz files, or unpack it",
    b"\x93NUMPY": "is one array; give the folder of .npy files, one an image",
    b"\x1f\x8b": "is compressed; unpack it with gunzip",
    b"\x80": "is a pickle, which is not read; save its arrays as a folder of .npz files",
}
"""What other files begin with, and what to do with them."""


def open_source(path: Path) -> Source:
    """The images in a table or an HDF5 file, or in the files of a folder.

    Raises:
        InputError: It does not exist, or is of no format that is read.
    """
    try:
        if path.is_dir():
            return _folder(path)
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if start == _HDF5:
        return Hdf5Files([path])
    for mark, what in _OTHERS.items():
        if start.startswith(mark):
            raise InputError(f"{path}: {what}")
    if re.fullmatch(_FORMATS[".hdf5"][0], path.name, re.DOTALL):
        raise InputError(
            f"{path}: begins with {start!r} and is no HDF5, as its name says; copy it again"
        )
    return Tables([path])


def _folder(root: Path) -> Source:
    files = sorted(path for path in root.iterdir() if path.name[0] != "." and path.is_file())
    found = {
        suffix: [path for path in files if re.fullmatch(pattern, path.name, re.DOTALL)]
        for suffix, (pattern, _) in _FORMATS.items()
    }
    present = {suffix: own for suffix, own in found.items() if own}
    if not present:
        raise InputError(f"{root}: no {', '.join(_FORMATS)} files; check the folder")
    if len(present) > 1:
        counts = " and ".join(f"{len(own)} {suffix}" for suffix, own in present.items())
        raise InputError(f"{root}: {counts} files; give a folder with one kind of them")
    ((suffix, own),) = present.items()
    return _FORMATS[suffix][1](own)
