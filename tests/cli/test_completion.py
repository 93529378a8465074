"""Shell completion: its script, its installation, and what it proposes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from itr_deploy.cli.verbs import VERBS

COMMAND = Path(sys.executable).parent / "itr-deploy"


def proposed(*words: str, shell: str = "bash") -> list[str]:
    """What a shell is told to propose for the last word."""
    env = {**os.environ, "_ITR_DEPLOY_COMPLETE": f"complete_{shell}"}
    line = " ".join(("itr-deploy", *words))
    if shell == "bash":
        env |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    else:
        env |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run([COMMAND], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split() if shell == "bash" else done.stdout.splitlines()


def test_verbs_are_proposed() -> None:
    assert proposed("") == list(VERBS)
    assert proposed("inde") == ["index", "index-bank", "index-coarse"]
    (line,) = proposed("sear", shell="fish")
    assert line == "search\tSearch a gallery."


def test_options_of_a_verb_and_what_they_may_be_are_proposed() -> None:
    assert proposed("search", "bundle", "--ga") == ["--gallery", "--gallery-neighbours"]
    assert proposed("index", "bundle", "--storage", "float") == ["float16", "float32"]
    assert proposed("search", "bundle", "--device", "c") == ["cpu", "cuda"]
    assert proposed("index", "bundle", "--b") == ["--backend"]


def test_families_and_their_options_are_proposed() -> None:
    assert proposed("export", "l") == ["lhsc", "leaprr"]
    assert proposed("export", "imram", "--pre") == ["--precompute"]
    assert proposed("export", "imram", "--precompute", "") == ["full", "none"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_script_is_shown_and_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}

    def run(option: str) -> str:
        # Not the last command of the shell, which would become it.
        line = f"'{COMMAND}' {option}; exit $?"
        done = subprocess.run(
            ["bash", "--norc", "-c", line], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    shown = run("--show-completion")
    assert "_ITR_DEPLOY_COMPLETE=complete_bash" in shown
    assert "itr-deploy" in shown.splitlines()[-1]
    assert "bash completion installed in" in run("--install-completion")
    (script,) = tmp_path.rglob("itr-deploy.sh")
    assert script.read_text().strip() == shown.strip()
    assert str(script) in (tmp_path / ".bashrc").read_text()
