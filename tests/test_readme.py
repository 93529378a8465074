"""The README's commands and code, run unchanged in one process."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from tests.support import items
from tests.support.command import itr_deploy
from tests.support.exports import Bundles, take_graphs_of
from tests.support.golden import FULL
from tests.support.pages import ROOT, blocks, commands

README = ROOT / "README.md"
IMAGES = 20


@pytest.fixture
def user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README takes for granted, as the working directory: a checkpoint and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_best.pth.tar").symlink_to(FULL.checkpoint)
    (tmp_path / "vocab.json").symlink_to(FULL.vocab)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/test_ims.npy", items.images(IMAGES))
    (tmp_path / "data/test_caps.txt").write_text("\n".join(items.captions(5 * IMAGES)) + "\n")
    (tmp_path / "data/test_ids.txt").write_text("\n".join(items.names(IMAGES, "test_")) + "\n")
    return tmp_path


def test_the_readmes_code_and_commands_run_in_the_order_they_are_shown(
    user_directory: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_graphs_of(bundles.path(FULL), monkeypatch)
    for code in blocks(README, "python"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(README), "exec"), {})
        assert "test_" in out.getvalue()
    shown = commands(README)
    assert len(shown) == 5
    for command in shown:
        outcome = itr_deploy(*command[1:])
        assert outcome.code == 0, f"{command}: {outcome.err}"
        assert outcome.out.strip()


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 80
