"""Packs what the check needs, for a machine that is reached by sending files alone."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.gpu_check.parts import Manifest, PackError, Part, mib, write_part
from tools.gpu_check.wheels import (
    GALLERIES,
    ROOT,
    build,
    build_wheel,
    distribution,
    download,
    needs,
    remove,
    store_uncompressed,
)

PYTHON = "3.12"
PIECE_MIB = 36
"""With a checkout of 26 MB beside it, a piece is below 64 MiB."""
FULL_SIZES = {"bench": [1_000, 100_000], "rounds": [20, 5], "matrix": [1_000, 5_000], "pictures": 5}
SMALL_SIZES = {"bench": [50, 200], "rounds": [2, 1], "matrix": [20, 50], "pictures": 1}
ACCELERATORS = {
    "onnxruntime-gpu": ("onnxruntime-gpu",),
    "tensorrt-rtx": ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings"),
}
"""What is downloaded for each."""
FROM_SOURCE = {"tensorrt-rtx": ("tensorrt-rtx-cu13",)}
"""Their modules in Python, of which there are no wheels."""
LEFT_OUT = {
    "tensorrt": "its libraries are no wheels on PyPI but come from NVIDIA's own index",
    "tensorrt-rtx": "92 MiB of wheels that do not know GPUs of capability 9.0; "
    "--with tensorrt-rtx packs them",
    "onnxruntime-gpu": "244 MiB as a wheel, not asked for; --with onnxruntime-gpu packs it",
}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What to pack.

    Attributes:
        there: Distributions that the other machine has, which are not packed.
        spare: Bytes up to which wheels are packed all the same, as what is there may be too old.
        accelerators: Names among `ACCELERATORS`.
        piece_mib: Size of a piece.
        python: Version of Python there.
        small: Small models and few cases, to try the check itself.
        wheels: Whether to pack wheels; without, it runs where itr-deploy is installed.
    """

    there: Sequence[str]
    spare: int = 0
    accelerators: Sequence[str] = ()
    piece_mib: int = PIECE_MIB
    python: str = PYTHON
    small: bool = False
    wheels: bool = True


@dataclass(frozen=True)
class Made:
    """Where the bundles of a pack come from.

    Attributes:
        golden: Gives the bundle that ``itr-deploy export`` makes with these words.
        models: Writes those that are timed into a new directory.
    """

    golden: Callable[[Sequence[object]], Path]
    models: Callable[[Path], None]


def pack(
    folder: Path,
    wanted: Wanted,
    progress: Progress = lambda step: None,
    made: Made | None = None,
) -> Manifest:
    """Pack into a new or empty folder.

    Args:
        folder: Where the pieces, their manifest and the check's own programs are written.
        wanted: What to pack.
        progress: Called with each step as it begins.
        made: Where bundles come from; by default they are exported.

    Raises:
        PackError: The folder is not empty, or something cannot be had.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PackError(f"{folder} is not empty; give a new folder")
    if unknown := set(wanted.accelerators) - set(ACCELERATORS):
        raise PackError(
            f"--with {','.join(sorted(unknown))}: not known; known are {', '.join(ACCELERATORS)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    left_out = {n: why for n, why in LEFT_OUT.items() if n not in wanted.accelerators}
    manifest = Manifest(_made(wanted), dict(SMALL_SIZES if wanted.small else FULL_SIZES))
    manifest.left_out.update(left_out)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        parts = Path(temporary) / "parts"
        _bundles(parts, wanted, made, Path(temporary), progress)
        if wanted.wheels:
            _wheels(parts, wanted, manifest, progress)
        for name, says in _said(wanted).items():
            if not (parts / name).is_dir():
                continue
            progress(f"compressing {name}")
            part = write_part(folder, name, says, parts / name, wanted.piece_mib << 20)
            manifest.parts[name] = part
    _copy_programs(folder)
    manifest.write(folder)
    return manifest


def summary(manifest: Manifest) -> list[str]:
    """What was packed and what was not, a line each."""
    lines = [
        f"{name}: {mib(part.bytes)} in {_pieces(part)}, {part.says}"
        for name, part in manifest.parts.items()
    ]
    lines += [f"left out, {name}: {why}" for name, why in manifest.left_out.items()]
    return lines


def _pieces(part: Part) -> str:
    return f"{len(part.pieces)} piece" + "s" * (len(part.pieces) > 1)


def _said(wanted: Wanted) -> dict[str, str]:
    return {
        "base": "wheels, golden cases, IMRAM",
        "galleries": "wheels that only galleries need",
        "detector": "a region detector",
        **dict.fromkeys(wanted.accelerators, "wheels of its libraries"),
    }


def _bundles(
    parts: Path,
    wanted: Wanted,
    made: Made | None,
    temporary: Path,
    progress: Progress,
) -> None:
    # Needs the export half, which nothing else here does.
    from tools.gpu_check import bundles

    if made is None:
        exports = temporary / "exports"
        exports.mkdir()
        made = Made(bundles.exporter(exports), partial(bundles.write_models, small=wanted.small))
    for case in bundles.golden_cases():
        if wanted.small and not bundles.is_small(case):
            continue
        progress(f"golden case {case.name}")
        place = parts / "base" / "golden" / case.name
        bundles.write_golden(case, made.golden(case.words), place)
    progress("IMRAM")
    made.models(parts / "base" / "models")
    progress("detector")
    detector = parts / "detector" / "detector"
    if wanted.small:
        bundles.write_small_detector(parts / "base" / "golden" / "regions-bua_caffe", detector)
    else:
        bundles.write_detector(detector)


def _wheels(parts: Path, wanted: Wanted, manifest: Manifest, progress: Progress) -> None:
    progress("wheel of this checkout")
    base, galleries = parts / "base" / "wheels", parts / "galleries" / "wheels"
    base.mkdir()
    galleries.mkdir(parents=True)
    own = build_wheel(base)
    required = [*needs(own), "cuda-bindings"]
    only_galleries = [one for one in required if distribution(one) in GALLERIES]
    others = [one for one in required if one not in only_galleries]
    progress("wheels that it needs")
    packed = [one for one in required if wanted.spare or distribution(one) not in wanted.there]
    if packed:
        download(base, packed, wanted.python)
    download(base, ["pip"], wanted.python, alone=True)
    # Whatever is there, these two are ours.
    removed = remove(base, set(wanted.there) - {"pip", "itr-deploy"}, wanted.spare)
    manifest.left_out.update({distribution(name): "taken to be there" for name in removed})
    for wheel in base.glob("*.whl"):
        if distribution(wheel.name) in GALLERIES:
            wheel.rename(galleries / wheel.name)
    _write_lines(parts / "base" / "requirements-base.txt", others)
    _write_lines(parts / "galleries" / "requirements-galleries.txt", only_galleries)
    for name in wanted.accelerators:
        progress(f"wheels of {name}")
        place = parts / name / "wheels"
        place.mkdir(parents=True)
        download(place, ACCELERATORS[name], wanted.python, alone=True)
        for module in FROM_SOURCE.get(name, ()):
            build(place, module)
    for place in parts.glob("*/wheels"):
        store_uncompressed(place)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _copy_programs(folder: Path) -> None:
    tools = folder / "tools"
    shutil.copytree(
        ROOT / "tools" / "gpu_check",
        tools / "gpu_check",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("gpu_check.sh", "__init__.py"):
        shutil.copy(ROOT / "tools" / name, tools)


def _made(wanted: Wanted) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "itr_deploy": version("itr-deploy"),
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+" if _git("status", "--porcelain", "--untracked-files=no") else ""),
        "here": f"Python {platform.python_version()}, torch {version('torch')}",
        "for_python": wanted.python,
    }


def _git(*words: str) -> str:
    command = ["git", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
