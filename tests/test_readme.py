"""The README's commands and code, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.shapes.make_data import make_split
from itr_deploy.cli.main import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECKPOINTS = ROOT / "examples" / "shapes" / "checkpoints"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    words = [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]
    return [command for command in words if command[0] == "itr-deploy"]


@pytest.fixture(scope="module")
def user_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README takes for granted: checkpoints, their files, data, a query's regions."""
    root = tmp_path_factory.mktemp("readme")
    for split in ("test", "dev"):
        make_split(split, root / "data", with_pictures=False, size=20)
    shutil.copy(CHECKPOINTS / "imram" / "model_best.pth.tar", root)
    shutil.copy(CHECKPOINTS / "imram" / "shapes_vocab.json", root / "vocab.json")
    for direction in ("i2t", "t2i"):
        folder = CHECKPOINTS / f"dime_{direction}"
        shutil.copy(folder / "model_best.pth.tar", root / f"{direction}.pth.tar")
        for name in ("vocab.txt", "bert_config.json"):
            shutil.copy(folder / name, root)
    shutil.copy(CHECKPOINTS / "leaprr" / "checkpoint_best.pth", root)
    np.save(root / "query.npy", np.load(root / "data" / "test_ims.npy")[0])
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
def test_the_readmes_commands_and_code_run_in_the_order_they_are_shown(
    user_directory: Path,
) -> None:
    shown = commands()
    assert {command[1] for command in shown} == set(VERBS)
    for command in shown:
        assert run(command, user_directory).strip()
    for code in blocks("python"):
        assert "test_" in run([sys.executable, "-c", code], user_directory)


def test_every_file_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link.partition("#")[0]).exists(), link
