"""What a file is, by its first bytes, where it is not what its name says.

People have web pages, Git LFS pointers, archives and error messages under the name of a checkpoint
or of a vocabulary. Nothing is unpacked or unpickled here.
"""

from __future__ import annotations

import re
import shlex
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.errors import CheckpointError

HEAD = 4096
"""Bytes that are looked at."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
TORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""The number at the start of what `torch.save` wrote before it wrote zip archives."""

PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"BZh": ("bzip2", "bunzip2 -c"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "zstd -dc"),
}
OTHERS = {
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it and give the file in it"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it and give the file in it"),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file, as Keras writes", "give what PyTorch saved"),
    b"\x93NUMPY": ("a numpy array", "give what PyTorch saved"),
    b"%PDF-": ("a PDF document", "download the file itself again"),
    b"\x89PNG": ("a picture", "download the file itself again"),
    b"\xff\xd8\xff": ("a picture", "download the file itself again"),
}
DOWNLOAD = "download the file itself again, in a browser that is signed in if it must be"
PUBLISHED = "give the file that the published program saved, with 'model' and 'opt'"


@dataclass(frozen=True)
class Foreign:
    """A file that is something else.

    Attributes:
        what: What it is: "a web page".
        remedy: What to do about it.
    """

    what: str
    remedy: str


def refuse_other_files(path: Path, *, pickled: bool = False) -> None:
    """Refuse what is no PyTorch checkpoint, before anything reads it as one.

    Args:
        path: The file.
        pickled: Whether a pickle, as `is_pickle` knows it, will do too.

    Raises:
        CheckpointError: Says in one line what the file is and what to do.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: {_folder(path)}")
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if not path.is_file():
        raise CheckpointError(f"{path}: a pipe or a device, not a checkpoint; give a file")
    head = first_bytes(path)
    found = foreign(path, head) or _json(head)
    if found is None and not (pickled and is_pickle(path, head)):
        found = _archive(path, head) or _pickle(path, head)
    if found is not None:
        raise CheckpointError(f"{path}: {found.what}, not a PyTorch checkpoint; {found.remedy}")


def is_pickle(path: Path, head: bytes) -> bool:
    """Whether a file is a pickle that `torch.save` did not write, by its name or its first bytes.

    Args:
        path: The file.
        head: Its first `HEAD` bytes.
    """
    if head.startswith(b"PK") or TORCH_MAGIC in head[:64]:
        return False
    return path.suffix.lower() in (".pkl", ".pickle") or head[:1] == b"\x80"


def first_bytes(path: Path) -> bytes:
    """The beginning of a file.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def foreign(path: Path, head: bytes) -> Foreign | None:
    """What a file is that should be a checkpoint or a vocabulary; None if it may be one.

    Args:
        path: The file, for commands.
        head: Its first `HEAD` bytes.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        return Foreign("an empty file", "copy or download it again")
    if text[:1] == b"<":
        return Foreign(f"a web page or XML{_title(text)}", DOWNLOAD)
    if text.startswith(LFS_POINTER):
        size = re.search(rb"\nsize (\d{1,18})\n", text)
        of = f" to {int(size[1]):,} bytes" if size else ""
        return Foreign(f"a Git LFS pointer{of}", "run git lfs pull where it was cloned")
    for start, (name, command) in PACKED.items():
        if head.startswith(start):
            target = "" if path.suffix else ".unpacked"
            unpacked = shlex.quote(f"{path.with_suffix('').name}{target}")
            run = f"{command} {shlex.quote(str(path))} > {unpacked}"
            return Foreign(f"packed with {name}", f"unpack it: {run}")
    for start, (name, remedy) in OTHERS.items():
        if head.startswith(start):
            return Foreign(name, remedy)
    return _tar(path, head) or _model_format(head)


def shown(content: bytes, most: int = 40) -> str:
    """The beginning of unknown bytes, on one line, for a message."""
    return ascii(content[:most].decode("latin-1"))


def _title(text: bytes) -> str:
    title = re.search(rb"<title>\s*([^<]{1,60})", text, re.IGNORECASE)
    return f" (titled {shown(title[1].strip(), 60)})" if title else ""


def _folder(path: Path) -> str:
    inside = next((p for p in (*path.glob("data.pkl"), *path.glob("*/data.pkl"))), None)
    if inside is None:
        return "a folder, not a checkpoint; give the file in it, for example model_best.pth.tar"
    root = inside.parent
    command = f"cd {shlex.quote(str(root.parent))} && zip -0 -r whole.zip {shlex.quote(root.name)}"
    return f"an unpacked PyTorch checkpoint; pack it again without compression: {command}"


def _json(head: bytes) -> Foreign | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] not in (b"{", b"["):
        return None
    return Foreign(f"JSON that begins {shown(text, 60)}", DOWNLOAD)


def _tar(path: Path, head: bytes) -> Foreign | None:
    if head[257:262] != b"ustar":
        return None
    try:
        with tarfile.open(path, "r:") as archive:
            names = [member.name for _, member in zip(range(8), archive, strict=False)]
    except (OSError, tarfile.TarError, ValueError, OverflowError):
        return Foreign("a damaged tar archive", "copy or download it again")
    if "pickle" in names:
        return Foreign(
            "a tar archive of a PyTorch before 0.1.10", "save it anew with a current PyTorch"
        )
    run = f"tar -xf {shlex.quote(str(path))}"
    return Foreign(f"a tar archive of {_listed(names)}", f"unpack it, {run}, and give the file")


def _model_format(head: bytes) -> Foreign | None:
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return Foreign("safetensors, which hold no options of the training", PUBLISHED)
    if head[:1] == b"\x08" and head[2:3] in b"\x12\x1a\x22\x3a" and len(head) > 8:
        return Foreign("an ONNX model", PUBLISHED)
    return None


def _archive(path: Path, head: bytes) -> Foreign | None:
    """A zip archive that `torch.save` did not write."""
    if not head.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return Foreign("truncated or damaged", "copy or download it again")
    tops = {name.split("/", 1)[0] for name in names}
    if any(f"{top}/data.pkl" in names for top in tops):
        if any(name.split("/", 1)[-1] == "constants.pkl" for name in names):
            return Foreign("a TorchScript program, not the weights alone", PUBLISHED)
        return None
    if "data.pkl" in names:
        return Foreign(
            "a zip archive whose files lie in no folder", "pack the folder itself, as zip -0 -r"
        )
    if any(name.endswith(".npy") for name in names):
        return Foreign("numpy arrays (.npz)", "give what PyTorch saved")
    files = [name for name in names if not name.endswith("/")]
    run = f"unzip {shlex.quote(str(path))}"
    return Foreign(f"a zip archive of {_listed(files)}", f"unpack it, {run}, and give the file")


def _pickle(path: Path, head: bytes) -> Foreign | None:
    """What is neither an archive nor what an older `torch.save` wrote."""
    if head.startswith(b"PK") or TORCH_MAGIC in head[:64]:
        return None
    if head[:1] == b"\x80":
        return Foreign(
            "a Python pickle or a part of one, refused since it may hold code",
            "give what torch.save wrote, whole",
        )
    return Foreign(f"a file that begins {shown(head)}", "give what torch.save wrote, whole")


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name.encode(), 40) for name in names[:3])
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed or "nothing"
