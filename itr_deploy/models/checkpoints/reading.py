"""Reading the dictionary of a checkpoint."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints.first_bytes import first_bytes, is_pickle, refuse_other_files
from itr_deploy.models.checkpoints.pickles import unpickled
from itr_deploy.models.checkpoints.plain_types import HARMLESS, Array
from itr_deploy.models.checkpoints.states import is_state_dict, plain_model

WEIGHTS = ("model", "state_dict", "model_state_dict")
OPTIONS = ("opt", "args")
"""Names under which programs save the same thing."""

LARGEST_UNPACKED = 8
"""How often its own size an archive with compressed files may hold, beyond a gibibyte."""

SAVE_ANEW = (
    "save it anew in the program that trained it: torch.save({'model': model.state_dict(), "
    "'opt': {k: v for k, v in vars(opt).items() if isinstance(v, (str, int, float))}}, 'plain.pth')"
)

LONG_BYTES = "Unsupported operand 84"
"""What PyTorch's unpickler says of a byte string of more than 255 bytes, as Python 2 pickles it."""


def load_checkpoint(
    path: Path, *, expected: tuple[str, ...], arrays: bool = False
) -> dict[str, Any]:
    """Read a checkpoint dictionary with ``weights_only=True``, in the form that families expect.

    Harmless types besides tensors are read too (`plain_types`). What wrapped the model in training,
    ``module.`` and ``_orig_mod.``, is taken off the keys of its state dicts; options that are a
    dictionary become an `argparse.Namespace`; ``model`` may be called ``state_dict``.

    Args:
        path: The file.
        expected: Keys that must be there.
        arrays: Whether weights may be arrays of numpy, and the file a pickle of such.

    Raises:
        CheckpointError: The file is missing, damaged or something else, holds code or a tensor that
            is not an ordinary one, or lacks a key.
    """
    refuse_other_files(path, pickled=arrays)
    content = _read(path, pickled=arrays and is_pickle(path, first_bytes(path)))
    if arrays:
        content = _with_tensors(content, path)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: a {type(content).__name__}, not a dictionary with "
            f"{' and '.join(map(repr, expected))}; {SAVE_ANEW}"
        )
    if is_state_dict(content) and not content.keys() & {*WEIGHTS, *OPTIONS}:
        content = _whole(content, expected, path)
    found = _renamed(content, expected)
    missing = [key for key in expected if key not in found]
    if missing:
        raise CheckpointError(
            f"{path}: no {', '.join(map(repr, missing))} in the checkpoint; it holds "
            f"{_listed(content)}; {SAVE_ANEW}"
        )
    for key in {*WEIGHTS} & found.keys():
        found[key] = plain_model(found[key], source=path)
    opt = found.get("opt")
    if isinstance(opt, Mapping) and all(isinstance(name, str) for name in opt):
        found["opt"] = argparse.Namespace(**opt)
    return found


def _with_tensors(content: Any, source: Path) -> Any:
    """The content with tensors for the arrays in it, and in the dictionaries in it.

    Raises:
        CheckpointError: An array is not one of plain numbers.
    """
    if not isinstance(content, Mapping):
        return content
    found: dict[Any, Any] = {}
    for key, value in content.items():
        if isinstance(value, Array):
            try:
                value = value.tensor()
            except ValueError as error:
                raise CheckpointError(
                    f"{source}: {str(key)[:80]!r} is {error}; copy it again"
                ) from error
        found[key] = _with_tensors(value, source) if key in WEIGHTS else value
    return found


def _read(path: Path, *, pickled: bool) -> Any:
    """The content of the file.

    Raises:
        CheckpointError: It is damaged, or holds code.
    """
    _check_archive(path)
    before = path.stat()
    try:
        content = unpickled(path) if pickled else _loaded(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {refusal(str(error))}") from error
    except Exception as error:  # damaged bytes raise anything, down to IndexError
        raise CheckpointError(
            f"{path}: cannot be read as a PyTorch checkpoint, it is truncated or damaged "
            f"({reason(error)}); copy it again"
        ) from error
    after = path.stat()
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ino,
    ):
        raise CheckpointError(
            f"{path}: changed while it was read; export a copy if training still writes it"
        )
    return content


def _loaded(path: Path) -> Any:
    with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
        # Warnings are about protocols and types that are deprecated; they help nobody here.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnicodeDecodeError:  # Python 2 pickles text as bytes, in whatever encoding it has
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")


def _check_archive(path: Path) -> None:
    """Compare an archive's files with their checksums, which `torch.load` does not.

    Raises:
        CheckpointError: One differs, or they unpack to far more than the archive holds.
    """
    if not zipfile.is_zipfile(path):
        return  # what PyTorch saved before 1.6 has no checksums
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > (1 << 30) + LARGEST_UNPACKED * path.stat().st_size:
                raise CheckpointError(
                    f"{path}: unpacks to {unpacked:,} bytes, which no PyTorch checkpoint of its "
                    "size does; copy it again"
                )
            # With torch.serialization.set_crc32_options(False) all checksums are 0.
            bad = archive.testzip() if any(entry.CRC for entry in entries) else None
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes raise zlib's errors, NotImplementedError and others
        bad = reason(error)
    if bad is not None:
        raise CheckpointError(
            f"{path}: truncated or damaged: {bad!a} does not have its checksum; copy it again"
        )


def refusal(message: str) -> str:
    """What to tell of the safe unpickler's long message: the type it refused, and what to do."""
    if LONG_BYTES in message:
        short = SAVE_ANEW.replace("(str, int, float))", "(str, int, float)) and len(str(v)) < 256")
        return (
            f"refused: Python 2 pickled a text of more than 255 bytes, which is not read; {short}"
        )
    named = re.search(r"GLOBAL\s+(?!weights.?only)([A-Za-z_][\w.]*)", message)
    found = f"({named[1][:80]})" if named else "or is damaged"
    return f"refused: it holds more than tensors and plain values {found}; {SAVE_ANEW}"


def reason(error: BaseException) -> str:
    """The first line of an error of torch, short, without its advice to load unsafely."""
    lines = str(error).strip().splitlines()
    text = re.split(r"weights[_ ]?only", lines[0], flags=re.IGNORECASE)[0] if lines else ""
    kept = "".join(c if c.isprintable() else " " for c in text)[:120].strip(" `.,;:([")
    return kept if len(kept) > 12 else type(error).__name__


def _whole(state: dict[Any, Any], expected: tuple[str, ...], source: Path) -> dict[str, Any]:
    """A checkpoint around a bare state dict, where nothing but weights is needed.

    Raises:
        CheckpointError: Options are needed too.
    """
    missing = [key for key in expected if key not in WEIGHTS]
    if len(expected) - len(missing) == 1 and not missing:
        return {expected[0]: state}
    what = "an empty dictionary"
    if state:
        what = f"a bare state dict of {len(state)} tensors, the first {next(iter(state))!a:.80}"
    raise CheckpointError(
        f"{source}: {what}, without {', '.join(map(repr, missing))}, the options of its training; "
        f"{SAVE_ANEW}"
    )


def _renamed(content: Mapping[Any, Any], expected: tuple[str, ...]) -> dict[str, Any]:
    """The content, with what goes by another of the usual names under the one that is expected."""
    found = {str(key): value for key, value in content.items()}
    for names in (WEIGHTS, OPTIONS):
        others = [name for name in names if name in found]
        for wanted in names:
            if wanted in expected and wanted not in found and len(others) == 1:
                found[wanted] = found.pop(others[0])
    return found


def _listed(content: Mapping[Any, Any]) -> str:
    names = sorted(map(str, content))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{[name[:40] for name in names[:8]]}{more}"
