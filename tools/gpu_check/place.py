"""The environment that the steps run in, made of what was packed and of what is there already."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RUN = "from itr_deploy.cli.main import main; main()"
THERE = "there.pth"
"""Makes the environment see the packages of the interpreter that made it. An environment that was
made of another one with ``--system-site-packages`` sees the system's packages, not the other's."""


@dataclass(frozen=True)
class Place:
    """Where the steps run.

    Attributes:
        root: What was unpacked.
        scratch: For what the steps write.
        python: The interpreter that has the wheel.
        device: ``"cuda"`` or ``"cpu"``.
        modules: Versions of the libraries that it can import, by module.
        gpus: Compute capabilities.
    """

    root: Path
    scratch: Path
    python: Path
    device: str
    modules: Mapping[str, str]
    gpus: Sequence[str]

    def has(self, module: str) -> bool:
        """Whether a library can be imported there."""
        return module in self.modules

    def itr_deploy(self, *words: object) -> list[str]:
        """A command of ``itr-deploy``."""
        return [str(self.python), "-c", RUN, *map(str, words)]


def site_directories() -> list[str]:
    """Where this interpreter's packages are."""
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    ends = ("site-packages", "dist-packages")
    return [path for path in sys.path if path in own or path.rstrip("/").endswith(ends)]


def make_environment(folder: Path) -> list[str]:
    """The command that makes an environment without pip; finish it with `see_packages_there`."""
    return [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]


def interpreter(folder: Path) -> Path:
    """An environment's interpreter."""
    return folder / "bin" / "python"


def see_packages_there(folder: Path) -> None:
    """Let an environment see this interpreter's packages, after its own."""
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / THERE).write_text("".join(f"{path}\n" for path in site_directories()))


def environment(python: Path, scratch: Path) -> dict[str, str]:
    """The variables that the steps run with.

    ONNX Runtime's GPU build looks for CUDA's and cuDNN's libraries beside itself; those that
    PyTorch came with are beside PyTorch.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    temporary, cache = scratch / "tmp", scratch / "cache"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "PATH": os.pathsep.join([str(python.parent), kept.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": os.pathsep.join(library_path(kept.get("LD_LIBRARY_PATH", ""))),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),
        "ITR_DEPLOY_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        # For people who read the log.
        "NO_COLOR": "1",
        "COLUMNS": "160",
    }


def library_path(before: str) -> Iterable[str]:
    """Directories of CUDA's libraries that pip installed, then those that were named already."""
    sites = map(Path, site_directories())
    found = [str(path) for site in sites for path in sorted(site.glob("nvidia/*/lib"))]
    return dict.fromkeys([*found, *filter(None, before.split(os.pathsep))])
