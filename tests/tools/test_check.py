"""The GPU check on this machine's CPU: packed, run by its script, reported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import Bundles
from tests.support.golden import FULL
from tools.gpu_check.packing import Made, Wanted, pack
from tools.gpu_check.parts import Manifest
from tools.gpu_check.steps import HALF_CASE

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("imram-full-float32", "imram-full-float16", "imram-none-float32")
STEPS = "golden,engines-fit,matrix,detector"


def script(root: Path, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(root / "tools" / "gpu_check.sh"), *map(str, words)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def packed(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without wheels, as itr-deploy is installed here."""

    def models(place: Path) -> None:
        for name in MODELS:
            shutil.copytree(bundles.path(FULL), place / name)

    folder = tmp_path_factory.mktemp("gpu-check") / "packed"
    made = Made(lambda words: bundles.of(*words), models)
    pack(folder, Wanted((), small=True, wheels=False), made=made)
    return folder


@pytest.fixture(scope="module")
def ran(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    options = ("--device", "cpu", "--python", sys.executable, "--only", STEPS)
    # By the script that was packed, which is all that the other machine has.
    script(packed, "run", packed, "--out", out, *options)
    return out


def steps(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / "results.json").read_bytes())["steps"]
    return {step["name"]: step for step in found}


def test_every_step_that_can_be_run_here_is(ran: Path) -> None:
    found = steps(ran)
    assert {name: step["state"] for name, step in found.items()} == {
        "unpack base": "ok",
        "unpack detector": "ok",
        "machine": "ok",
        "golden": "ok",
        "engines-fit": "not run",
        "matrix": "ok",
        "detector": "ok",
    }
    assert found["engines-fit"]["reason"] == "engines: not run"
    cases = {case["case"]: case for case in found["golden"]["found"]}
    assert set(cases) == {"imram-full_3step", HALF_CASE, "regions-bua_caffe"}
    assert 0 < cases["imram-full_3step"]["error"] < 1e-4
    assert [row["bundle"] for row in found["matrix"]["found"]] == list(MODELS[:2])
    assert found["matrix"]["found"][0]["finite"]


def test_the_report_has_a_row_for_every_step_and_says_why_one_was_not_run(ran: Path) -> None:
    report = (ran / "report.md").read_text()
    assert report == script(ROOT, "report", ran).stdout
    assert "device `cpu`" in report
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 4
    assert "3 of 3 cases within what is allowed" in rows[1]
    assert "`python golden.py golden --device cpu`" in rows[1]
    assert "not run: engines: not run" in rows[2]
    assert "pairs/s" in rows[3]
    assert "s a picture of 640 x 480" in rows[4]


def test_what_is_wrong_is_told_and_what_can_be_run_is_run(packed: Path, tmp_path: Path) -> None:
    """On a GPU that is not there, with a piece missing and a golden case that differs."""
    folder, out = tmp_path / "packed", tmp_path / "out"
    shutil.copytree(packed, folder)
    (folder / "detector.0").unlink()
    options = ("--device", "cuda", "--python", sys.executable, "--only", "golden,detector")
    script(folder, "run", folder, "--out", out, *options, code=3)
    found = steps(out)
    assert found["unpack detector"]["state"] == "not run"
    assert "detector.0" in found["unpack detector"]["reason"]
    assert found["detector"]["reason"].startswith("needs what is not here, detector: ")
    # Where there is a GPU, it is not what this is about.
    if not found["machine"]["found"][0]["gpus"]:
        assert found["golden"]["state"] == "failed"
        problems = [case["problem"] for case in found["golden"]["found"]]
        assert len(problems) == 3
        assert all("cuda" in problem.lower() for problem in problems)
        assert problems[0] in (out / "report.md").read_text()


def test_a_folder_that_was_not_packed_and_a_step_that_is_unknown_are_refused(
    packed: Path, tmp_path: Path
) -> None:
    said = script(ROOT, "run", tmp_path, "--out", tmp_path / "out", code=1).stderr
    assert said.startswith("error: ")
    assert "manifest.json" in said
    said = script(ROOT, "run", packed, "--only", "tea", "--out", tmp_path / "out", code=1).stderr
    assert said.startswith("error: --only tea: no such step; steps are doctor, self-test, ")


def test_a_folder_with_something_in_it_is_not_packed_into(packed: Path) -> None:
    before = Manifest.read(packed)
    assert "is not empty" in script(ROOT, "pack", packed, code=1).stderr
    assert Manifest.read(packed) == before


@pytest.mark.full
def test_a_dry_run_passes(tmp_path: Path) -> None:
    script(ROOT, "dry-run", "--out", tmp_path)
    states = {name: step["state"] for name, step in steps(tmp_path).items()}
    assert states.pop("engines-golden") == "not run"
    assert set(states.values()) == {"ok"}
