"""The wheels of a pack: ours, what it needs, and libraries for GPUs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path

from tools.gpu_check.parts import PackError

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
GLIBC = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")
"""Wheels for these versions of glibc and older run there."""
OLD = ("manylinux2014", "manylinux2010", "manylinux1")
THERE = (
    "torch",
    "onnx",
    "onnxruntime",
    "cuda-bindings",
    "cuda-pathfinder",
    "cupy-cuda13x",
    "numpy",
    "protobuf",
    "typing-extensions",
)
"""What the other machine is taken to have, and so is not packed."""
GALLERIES = ("lancedb", "pyarrow", "lance-namespace", "lance-namespace-urllib3-client")
"""What only galleries need: most of the bytes."""


def build_wheel(folder: Path) -> Path:
    """Build this checkout's wheel into a folder."""
    build(folder, ROOT)
    return next(folder.glob("itr_deploy-*.whl"))


def build(folder: Path, source: object) -> None:
    """Build a wheel of pure Python, of a directory or of what the index has, into a folder."""
    _pip("wheel", "--no-deps", "--wheel-dir", folder, "-c", CONSTRAINTS, source)


def needs(wheel: Path) -> list[str]:
    """What a wheel needs without extras, such as ``numpy>=1.26``."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        told = HeaderParser().parsestr(archive.read(name).decode())
    every = told.get_all("Requires-Dist", [])
    return [one for one in every if "extra ==" not in one]


def download(folder: Path, wanted: Sequence[str], python: str, *, alone: bool = False) -> None:
    """Download wheels for the other machine, x86-64 Linux, with all that they need.

    Args:
        folder: Where to.
        wanted: Requirements.
        python: Version of Python there, such as ``"3.12"``.
        alone: Whether to leave out what they need.
    """
    platforms = [*(f"manylinux_{glibc}_x86_64" for glibc in GLIBC), *(f"{o}_x86_64" for o in OLD)]
    target = [word for name in platforms for word in ("--platform", name)]
    chosen = ("--only-binary=:all:", "--implementation", "cp", "--python-version", python)
    options = ["-c", str(CONSTRAINTS), *(["--no-deps"] if alone else [])]
    _pip("download", "--dest", folder, *chosen, *target, *options, *wanted)


def distribution(requirement: str) -> str:
    """The normalised name of a requirement's or a wheel's distribution."""
    name = re.split(r"[^A-Za-z0-9._-]|-\d", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def remove(folder: Path, names: Iterable[str], spare: int) -> list[str]:
    """Remove the wheels of some distributions above a size; the names of their files."""
    unwanted, removed = set(names), []
    for wheel in sorted(folder.glob("*.whl")):
        if distribution(wheel.name) in unwanted and wheel.stat().st_size > spare:
            wheel.unlink()
            removed.append(wheel.name)
    return removed


def store_uncompressed(folder: Path) -> None:
    """Write a folder's wheels without compression: packed as a whole they become smaller."""
    for wheel in folder.glob("*.whl"):
        temporary = wheel.with_suffix(".tmp")
        with zipfile.ZipFile(wheel) as given, zipfile.ZipFile(temporary, "w") as written:
            for entry in given.infolist():
                plain = zipfile.ZipInfo(entry.filename, entry.date_time)
                plain.external_attr = entry.external_attr
                with given.open(entry) as content, written.open(plain, "w", force_zip64=True) as to:
                    while block := content.read(1 << 20):
                        to.write(block)
        temporary.replace(wheel)


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(  # noqa: S603
        [*command, *map(str, words)], capture_output=True, text=True, timeout=1200, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise PackError(f"pip {words[0]} fails: {(lines or [done.stderr.strip()])[0]}")
