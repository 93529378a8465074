"""Engines of a bundle: their record, and whether one fits what is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.bundle.engines import (
    RECORD,
    EngineDirectory,
    EngineInfo,
    EngineRecord,
    Fingerprint,
    ShapeRange,
    check_engine_file,
    check_fit,
    engine_directories,
    engine_directory,
    graph_digest,
    read_record,
    write_record,
)
from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.manifest import FileInfo
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.errors import BundleError, EngineError

GRAPH = "image_encoder"


@pytest.fixture
def opened(small: Path) -> Bundle:
    return read_bundle(small)


def directory_of(bundle: Bundle, **differing: object) -> EngineDirectory:
    """A directory with one engine, built for what `fits` has here but for what is given."""
    fingerprint = Fingerprint.model_validate(
        {
            "target": "tensorrt-rtx",
            "version": "1.7.1.116",
            "precision": "float32",
            "capabilities": ("8.0", "8.6"),
            "hardware_compatibility": "none",
            "version_compatible": False,
            "driver": None,
            "graph_sha256": graph_digest(bundle, GRAPH),
            "profile": {"regions": ShapeRange(min=(1, 36, 32), opt=(1, 36, 32), max=(8, 36, 32))},
            "optimization_level": None,
            "workspace": None,
            **differing,
        }
    )
    path = engine_directory(bundle, fingerprint.target, "float32", "sm80+sm86")
    path.mkdir(parents=True)
    file = path / f"{GRAPH}.engine"
    file.write_bytes(b"an engine")
    info = EngineInfo(
        file=file.name,
        bytes=file.stat().st_size,
        sha256=sha256_of(file),
        fingerprint=fingerprint,
        layers=12,
        matrix_layers={"float32": 2},
        seconds=0.5,
    )
    record = EngineRecord(engines={GRAPH: info})
    write_record(path, record)
    return EngineDirectory(path, record)


def fits(bundle: Bundle, directory: EngineDirectory, **here: str) -> None:
    check_fit(bundle, directory, GRAPH, **{"version": "1.7.1.116", "capability": "8.6", **here})


def test_a_record_is_read_as_it_was_written(opened: Bundle) -> None:
    made = directory_of(opened)
    assert list(engine_directories(opened)) == [made]
    assert made.path.relative_to(opened.path).as_posix() == (
        "engines/tensorrt-rtx-float32-sm80+sm86"
    )
    check_engine_file(made, GRAPH)


def test_a_bundle_without_engines_has_no_directories(opened: Bundle) -> None:
    assert list(engine_directories(opened)) == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"schema_version": 2, "engines": {}}'])
def test_a_record_that_cannot_be_read_says_what_to_delete(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(EngineError, match="cannot be read: ") as caught:
        read_record(tmp_path)
    assert f"delete {tmp_path} and run itr-deploy build-engine" in str(caught.value)


def test_a_record_cannot_name_a_file_outside_its_directory(opened: Bundle) -> None:
    made = directory_of(opened)
    info = made.record.engines[GRAPH].model_copy(update={"file": "../../manifest.json"})
    with pytest.raises(BundleError, match="leaves"):
        EngineDirectory(made.path, EngineRecord(engines={GRAPH: info})).file(GRAPH)


def test_an_engine_that_is_missing_or_damaged_is_named(opened: Bundle) -> None:
    made = directory_of(opened)
    made.file(GRAPH).write_bytes(b"an engime")
    with pytest.raises(EngineError, match=r"image_encoder.engine: does not match its checksum"):
        check_engine_file(made, GRAPH)
    made.file(GRAPH).unlink()
    with pytest.raises(EngineError, match=r"image_encoder.engine: is missing"):
        check_engine_file(made, GRAPH)


def test_an_engine_fits_the_library_the_gpu_and_the_graph_it_was_built_for(opened: Bundle) -> None:
    fits(opened, directory_of(opened))


def test_another_version_of_the_library_names_the_command_that_rebuilds(opened: Bundle) -> None:
    made = directory_of(opened)
    with pytest.raises(EngineError) as caught:
        fits(opened, made, version="1.8.0.1")
    assert str(caught.value) == (
        f"{made.file(GRAPH)}: was built by tensorrt-rtx 1.7.1.116, here is 1.8.0.1; "
        f"run itr-deploy build-engine {opened.path} --target tensorrt-rtx"
    )


@pytest.mark.parametrize(
    ("version", "fit"), [("1.7.2", True), ("1.10.0.1", True), ("1.7.0.99", False), ("2.0", False)]
)
def test_a_version_compatible_engine_loads_in_later_versions_alone(
    opened: Bundle, version: str, fit: bool
) -> None:
    made = directory_of(opened, version_compatible=True)
    if fit:
        fits(opened, made, version=version)
    else:
        with pytest.raises(EngineError, match=f"here is {version}"):
            fits(opened, made, version=version)


def test_another_gpu_names_both_capabilities(opened: Bundle) -> None:
    with pytest.raises(EngineError) as caught:
        fits(opened, directory_of(opened), capability="12.0")
    assert "was built for compute capability 8.0, 8.6, this GPU has 12.0" in str(caught.value)
    assert str(caught.value).endswith("--target tensorrt-rtx --compute-capability 12.0")


def test_tensorrt_is_told_no_capability_it_builds_for_the_gpu_that_is_there(
    opened: Bundle,
) -> None:
    with pytest.raises(EngineError) as caught:
        fits(opened, directory_of(opened, target="tensorrt"), capability="9.0")
    assert str(caught.value).endswith(f"build-engine {opened.path} --target tensorrt")


@pytest.mark.parametrize(("capability", "fit"), [("12.0", True), ("9.0", True), ("7.5", False)])
def test_an_ampere_plus_engine_runs_on_ampere_and_what_came_after(
    opened: Bundle, capability: str, fit: bool
) -> None:
    made = directory_of(opened, hardware_compatibility="ampere-plus", capabilities=("8.0",))
    if fit:
        fits(opened, made, capability=capability)
    else:
        with pytest.raises(EngineError, match=r"this GPU has 7\.5"):
            fits(opened, made, capability=capability)


@pytest.mark.parametrize("changed", ["graphs/image_encoder.onnx", "graphs/weights.bin"])
def test_a_graph_or_weights_that_changed_are_another_graph(opened: Bundle, changed: str) -> None:
    made = directory_of(opened)
    files = {**opened.manifest.files, changed: FileInfo(bytes=5, sha256="a" * 64)}
    other = Bundle(opened.path, opened.manifest.model_copy(update={"files": files}))
    with pytest.raises(EngineError, match="another version of the bundle's graph"):
        fits(other, made)


def test_a_graph_without_an_engine_is_named(opened: Bundle) -> None:
    made = directory_of(opened)
    with pytest.raises(EngineError, match="has no engine of text_encoder; run itr-deploy build-"):
        check_fit(opened, made, "text_encoder", version="1.7.1.116", capability="8.6")
