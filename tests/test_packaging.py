"""The wheel, installed with only its CPU runtime, searches what the export half made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from tests.support.duals import GRID, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def pip(scripts: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """This environment's pip, on the environment of ``scripts``."""
    return run(sys.executable, "-m", "pip", "--python", scripts / "python", *words, cwd=scripts)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a clean environment that has the wheel and its extra ``cpu``."""
    root = tmp_path_factory.mktemp("environment")
    venv = (sys.executable, "-m", "venv", "--without-pip", root / "venv")
    assert run(*venv, cwd=root).returncode == 0
    scripts = root / "venv" / "bin"
    pinned = ROOT / "constraints.txt"
    constraints = ("--constraint", pinned) if pinned.is_file() else ()
    # Compiling hundreds of modules that no test imports takes as long as installing them.
    done = pip(scripts, "install", "-q", "--no-compile", f"{wheel}[cpu]", *constraints)
    assert done.returncode == 0, done.stderr
    return scripts


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in files} == {"itr_deploy"}
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "itr_deploy").rglob("*.py")}
    assert {name for name in files if name.endswith(".py")} == modules
    templates = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("itr_deploy/**/templates/*")}
    assert templates
    assert templates <= set(files)
    page = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("itr_deploy/serving/page/*.*")}
    assert page
    assert page <= set(files)
    assert any(name.endswith("/licenses/LICENSE") for name in files)


def test_the_cpu_runtime_searches_without_torch(
    environment: Path, bundle: Path, matcher: Matcher, tmp_path: Path
) -> None:
    packages = json.loads(pip(environment, "list", "--format", "json").stdout)
    names = {package["name"].lower() for package in packages}
    assert "onnxruntime" in names
    assert not names & {"torch", "onnx", "onnxscript", "onnx-ir"}
    assert pip(environment, "check").returncode == 0

    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add([f"image{n}" for n in range(6)], FULL.regions)
    command = (environment / "itr-deploy", "search", bundle, "--gallery", tmp_path / "gallery")
    done = run(*command, *FULL.captions, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = Retriever(matcher, gallery).search(FULL.captions)
    for found, hits in zip(json.loads(done.stdout), expected, strict=True):
        assert [hit["id"] for hit in found["hits"]] == list(hits.ids)
        np.testing.assert_allclose([hit["score"] for hit in found["hits"]], hits.scores, atol=1e-5)


def test_the_cpu_runtime_names_the_extra_that_exports(environment: Path, tmp_path: Path) -> None:
    files = ("--checkpoint", FULL.checkpoint, "--vocab", FULL.vocab, "--output", tmp_path / "b")
    done = run(environment / "itr-deploy", "export", "imram", *files, cwd=tmp_path)
    assert done.returncode == 4
    assert "pip install 'itr-deploy[export,cpu]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_cpu_runtime_indexes_pictures_without_torch(
    environment: Path, bundles: Bundles, tmp_path: Path
) -> None:
    bundle, gallery = bundles.of(*export_words(GRID)), tmp_path / "gallery"
    command, photos = environment / "itr-deploy", GRID.folder / "pictures"
    made = run(command, "index", bundle, "--pictures", photos, "--output", gallery, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    asked = (command, "search", bundle, "--gallery", gallery, "--json")
    done = run(*asked, "--image", photos / "3.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["hits"][0]["id"] == "3.png"
