"""Bundles, and whether their engines fit, with handwritten records and fake libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.store import read_bundle
from itr_deploy.diagnosis.bundles import check_bundle
from itr_deploy.diagnosis.checks import Check
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.engines.files import (
    RECORD,
    EngineInfo,
    EngineRecord,
    Fingerprint,
    engine_directory,
    graph_digest,
    write_record,
)
from tests.support.packages import fake_module

GRAPH, ENGINE, VERSION = "image_encoder", b"an engine", "10.13.0.35"


@pytest.fixture(autouse=True)
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(
        fake_module(tmp_path / "site", "tensorrt", f"__version__ = '{VERSION}'")
    )


def write_engines(path: Path, **changes: Any) -> Path:
    """A directory with one engine, as a build for capability 8.6 leaves it."""
    bundle = read_bundle(path)
    fingerprint = Fingerprint(
        **{
            "target": "tensorrt",
            "version": VERSION,
            "precision": "float16",
            "capabilities": ("8.6",),
            "hardware_compatibility": "none",
            "version_compatible": False,
            "driver": None,
            "graph_sha256": graph_digest(bundle, GRAPH),
            "profile": {},
            "optimization_level": None,
            "workspace": None,
            **changes,
        }
    )
    directory = engine_directory(bundle, fingerprint.target, fingerprint.precision, "sm86")
    directory.mkdir(parents=True)
    (directory / f"{GRAPH}.engine").write_bytes(ENGINE)
    info = EngineInfo(
        file=f"{GRAPH}.engine",
        bytes=len(ENGINE),
        sha256=hashlib.sha256(ENGINE).hexdigest(),
        fingerprint=fingerprint,
        layers=1,
        matrix_layers={"float16": 1},
        seconds=1.0,
    )
    write_record(directory, EngineRecord(engines={GRAPH: info}))
    return directory


def engines_check(machine: Machine, path: Path) -> Check:
    whole, engines = check_bundle(machine, path)
    assert whole.state == "ok"
    return engines


def test_a_whole_bundle_is_told_with_its_precision(bundle: Path, no_gpu: Machine) -> None:
    (check,) = check_bundle(no_gpu, bundle)
    assert (check.name, check.state) == (f"bundle {bundle}", "ok")
    assert check.found == "imram, float32, 23 graphs, checksums fit"


def test_a_damaged_bundle_is_a_problem(bundle_copy: Path, no_gpu: Machine) -> None:
    (bundle_copy / "vocab.json").write_text("{}")
    (check,) = check_bundle(no_gpu, bundle_copy)
    assert check.state == "problem"
    assert "vocab.json does not match its checksum" in check.found
    assert check.remedy == "copy or export the bundle again"


def test_engines_fit_the_gpu_that_they_were_built_for(
    bundle_copy: Path, with_gpu: Callable[..., Machine]
) -> None:
    directory = write_engines(bundle_copy)
    check = engines_check(with_gpu("9.0", "8.6"), bundle_copy)
    assert (check.name, check.state, check.remedy) == (f"engines {directory}", "ok", None)
    assert check.found == f"1 for TensorRT {VERSION}, float16, capability 8.6: fits"


def test_without_a_gpu_engines_are_compared_with_what_is_there(
    bundle_copy: Path, no_gpu: Machine
) -> None:
    write_engines(bundle_copy)
    check = engines_check(no_gpu, bundle_copy)
    assert check.state == "info"
    assert check.found.endswith("fits the bundle and the library; no GPU here to run on")


def test_engines_of_another_version_are_a_problem_with_the_command_that_builds_them(
    bundle_copy: Path, no_gpu: Machine
) -> None:
    write_engines(bundle_copy, version="10.3.0.26")
    check = engines_check(no_gpu, bundle_copy)
    assert check.state == "problem"
    assert "10.3.0.26" in check.found
    assert VERSION in check.found
    assert check.remedy == f"itr-deploy build-engine {bundle_copy} --target tensorrt"


def test_engines_of_a_graph_that_changed_are_a_problem(
    bundle_copy: Path, with_gpu: Callable[..., Machine]
) -> None:
    write_engines(bundle_copy, graph_sha256="0" * 64)
    check = engines_check(with_gpu("8.6"), bundle_copy)
    assert check.state == "problem"
    assert GRAPH in check.found
    assert "build-engine" in str(check.remedy)


def test_a_damaged_engine_is_a_problem(bundle_copy: Path, no_gpu: Machine) -> None:
    directory = write_engines(bundle_copy)
    (directory / f"{GRAPH}.engine").write_bytes(b"another engine")
    check = engines_check(no_gpu, bundle_copy)
    assert check.state == "problem"
    assert "does not match its checksum" in check.found


def test_engines_for_other_gpus_are_no_problem(
    bundle_copy: Path, with_gpu: Callable[..., Machine]
) -> None:
    """A bundle may carry the engines of several machines."""
    write_engines(bundle_copy)
    check = engines_check(with_gpu("9.0"), bundle_copy)
    assert check.state == "info"
    assert check.found.endswith("capability 8.6: for other GPUs than those here, 9.0")
    assert "build-engine" in str(check.remedy)


def test_engines_whose_library_is_not_installed_name_what_installs_it(
    bundle_copy: Path, no_gpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_engines(bundle_copy)
    monkeypatch.setattr(Machine, "library", lambda machine, target: None)
    check = engines_check(no_gpu, bundle_copy)
    assert check.state == "missing"
    assert check.remedy == "pip install 'itr-deploy[tensorrt]'"


def test_a_record_that_cannot_be_read_is_a_problem(bundle_copy: Path, no_gpu: Machine) -> None:
    directory = write_engines(bundle_copy)
    (directory / RECORD).write_text("{")
    check = engines_check(no_gpu, bundle_copy)
    assert check.state == "problem"
    assert "cannot be read" in check.found
