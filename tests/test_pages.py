"""The documentation is correct: links lead somewhere, code fits the library and runs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import itr_deploy
from itr_deploy.cli.verbs import VERBS
from itr_deploy.models.registry import FAMILIES, RERANKERS
from tests.support.golden import TEXT
from tests.support.pages import PAGES, ROOT, blocks, commands, name_of, titled

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@every_page
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not re.match(r"https?:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_every_page_is_in_the_navigation() -> None:
    shown = set(re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text("utf-8")))
    assert shown == {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}


def test_the_page_of_published_figures_has_every_row_and_no_other() -> None:
    lines = (ROOT / "docs/guides/published.md").read_text("utf-8").splitlines()
    rows = [row for entry in (*FAMILIES, *RERANKERS) for row in entry.published]
    expected = [
        " | ".join(
            [
                f"| {row.model} ({row.source})",
                row.protocol.name,
                *(
                    " / ".join(map(str, part or ()))
                    for part in (row.image_to_text, row.text_to_image)
                ),
                f"{row.rsum} |",
            ]
        )
        for row in rows
    ]
    shown = [line for line in lines if re.search(r"\d \|$", line) and " test" in line]
    assert sorted(shown) == sorted(expected)


def test_every_verb_is_shown_on_some_page() -> None:
    shown = {command[1] for page in PAGES for command in commands(page)}
    assert {word for word in shown if not word.startswith("-")} == set(VERBS)


@every_page
def test_calls_of_the_library_fit_its_signatures(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and (called := _ours(node.func)) is not None:
                given = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                inspect.signature(called).bind(*node.args, **given)


def _ours(function: ast.expr) -> object | None:
    """What ``itr_deploy.verb`` or ``Retriever.load`` means, None for other code."""
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return None
    owner, name = function.value.id, function.attr
    if owner == "itr_deploy":
        return getattr(itr_deploy, name)
    return getattr(getattr(itr_deploy, owner), name) if owner in itr_deploy.__all__ else None


def test_the_page_on_backends_makes_one_that_scores_as_onnx_runtime_does(
    bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "extend" / "backend.md"
    (tmp_path / "reference_backend.py").write_text(titled(page, "reference_backend.py"))
    (tmp_path / "bundle").symlink_to(bundles.path(TEXT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    place: dict[str, object] = {}
    for code in blocks(page, "python")[1:]:
        exec(compile(code, str(page), "exec"), place)
    assert np.isfinite(place["ours"]).all()


@pytest.mark.slow
def test_the_page_on_families_makes_one_that_searches(tmp_path: Path) -> None:
    page = ROOT / "docs" / "extend" / "family.md"
    package = shutil.copytree(Path(itr_deploy.__file__).parent, tmp_path / "itr_deploy")
    family = package / "models" / "bestregion"
    family.mkdir()
    for name in (
        "__init__",
        "options",
        "family",
        "plain",
        "deployed",
        "checkpoint",
    ):
        (family / f"{name}.py").write_text(titled(page, f"{name}.py"))
    registry = package / "models" / "registry.py"
    line = titled(page, "registry.py")
    before = registry.read_text()
    registry.write_text(
        before.replace('    _registered("dime"),\n', f'    _registered("dime"),\n{line}')
    )
    assert registry.read_text() != before
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    code = "\n".join(titled(page, name) for name in ("train.py", "deploy.py"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "picture" in done.stdout


@every_page
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    known = [p.as_posix() for p in ROOT.glob("*/**/*.py") if ".venv" not in p.parts]
    for name in re.findall(r"`([\w/]+/[\w]+\.py)`", page.read_text("utf-8")):
        assert any(path.endswith(f"/{name}") for path in known), name
