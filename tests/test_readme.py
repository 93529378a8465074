"""The README's commands and code, run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.shapes.make_data import make_split
from tests.support.pages import ROOT, blocks, commands

README = ROOT / "README.md"
CHECKPOINTS = ROOT / "examples" / "shapes" / "checkpoints"


@pytest.fixture(scope="module")
def user_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README takes for granted: a checkpoint, its vocabulary and data."""
    root = tmp_path_factory.mktemp("readme")
    make_split("test", root / "data", with_pictures=False, size=20)
    shutil.copy(CHECKPOINTS / "imram" / "model_best.pth.tar", root)
    shutil.copy(CHECKPOINTS / "imram" / "shapes_vocab.json", root / "vocab.json")
    return root


def run(words: list[str], directory: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = subprocess.run(
        words,
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{words}: {finished.stderr}"
    return finished.stdout


@pytest.mark.slow
def test_the_readmes_code_and_commands_run_in_the_order_they_are_shown(
    user_directory: Path,
) -> None:
    for code in blocks(README, "python"):
        assert "test_" in run([sys.executable, "-c", code], user_directory)
    shown = commands(README)
    assert len(shown) == 5
    for command in shown:
        assert run(command, user_directory).strip()


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 80
