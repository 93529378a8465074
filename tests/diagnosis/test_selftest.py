"""The self-test's result for a backend; tests/cli/test_doctor.py runs the whole self-test."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.diagnosis.candidates import CANDIDATES
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.diagnosis.selftest import Trial, run_candidate, write_small_model
from itr_deploy.engines.files import engine_directories


@pytest.fixture(scope="module")
def trial(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A bundle that is there, and its own scores in the place of PyTorch's."""
    folder = tmp_path_factory.mktemp("trial")
    # Engines are built into it.
    opened = read_bundle(shutil.copytree(bundle, folder / "bundle"))
    items = folder / "items.npz"
    rng = np.random.default_rng(0)
    given = {
        "regions": rng.standard_normal((6, 9, 32), dtype=np.float32),
        "token_ids": rng.integers(4, 40, size=(5, 7)),
        "lengths": np.array([7, 3, 5, 2, 6]),
    }
    np.savez(items, **given)
    matcher = Matcher.load(bundle)
    texts = matcher.encode_token_ids(given["token_ids"], given["lengths"])
    return Trial(opened, items, matcher.score(texts=texts, images=given["regions"]))


def test_a_backend_is_measured_in_a_process_of_its_own(trial: Trial, no_gpu: Machine) -> None:
    row = run_candidate(0, trial, no_gpu)
    assert (row.backend, row.device, row.precision) == ("onnxruntime", "cpu", "float32")
    assert row.state == "ok", row.said
    assert row.error is not None
    assert row.error < 1e-5
    assert row.same_ranking
    assert row.milliseconds is not None
    assert row.milliseconds > 0
    assert "CPUExecutionProvider" in row.said


def test_a_backend_with_other_scores_is_a_problem(trial: Trial, no_gpu: Machine) -> None:
    other = Trial(trial.bundle, trial.items, trial.reference[::-1])
    row = run_candidate(0, other, no_gpu)
    assert row.state == "problem"
    assert row.same_ranking is False
    assert "differs from PyTorch" in row.said


def test_a_backend_that_fails_is_a_problem_with_its_reason(
    trial: Trial, no_gpu: Machine, tmp_path: Path
) -> None:
    gone = Bundle(tmp_path / "gone", trial.bundle.manifest)
    row = run_candidate(0, Trial(gone, trial.items, trial.reference), no_gpu)
    assert row.state == "problem"
    assert "no such bundle directory" in row.said


def test_backends_that_are_not_there_are_listed_with_the_reason(
    trial: Trial, no_gpu: Machine
) -> None:
    rows = [run_candidate(number, trial, no_gpu) for number in range(1, len(CANDIDATES))]
    names = ["onnxruntime", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx"]
    assert [row.backend for row in rows] == names
    assert {(row.device, row.state) for row in rows} == {("cuda", "missing")}
    assert [row.said for row in rows[:3]] == ["no GPU"] * 3
    assert rows[3].said.endswith("no GPU")


def test_engines_for_rtx_are_built_where_nothing_runs_them(trial: Trial, no_gpu: Machine) -> None:
    pytest.importorskip("tensorrt_rtx")
    row = run_candidate(len(CANDIDATES) - 1, trial, no_gpu)
    assert re.fullmatch(
        r"14 engines with \d+ float32 matrix layers built, not run: no GPU", row.said
    )
    assert any(engine_directories(trial.bundle))


def test_the_small_model_is_the_same_every_time(tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = write_small_model(tmp_path / name)
        written.append((files.checkpoint.read_bytes(), files.vocabulary.read_bytes()))
    assert all(first == second for first, second in pairwise(written))
