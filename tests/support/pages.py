"""Code and commands shown in the documentation."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, including those with a title."""
    found = re.findall(
        rf"^( *)```{language}\b[^\n]*\n(.*?)^\1```", page.read_text("utf-8"), re.DOTALL | re.M
    )
    return [textwrap.dedent(code) for _, code in found]


def titled(page: Path, title: str) -> str:
    """The block with the content of the named file."""
    found = re.search(rf'```python title="{title}"\n(.*?)```', page.read_text("utf-8"), re.DOTALL)
    assert found is not None, title
    return found[1]


def commands(page: Path) -> list[list[str]]:
    """Lines that begin with itr-deploy, indented or after a prompt, split into words."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    lines = re.findall(r"^(?:    |\$ )(itr-deploy .*)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]
