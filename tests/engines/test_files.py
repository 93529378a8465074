"""Engines of a bundle: where they are stored, and their record."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.bundle.store import Bundle
from itr_deploy.engines.files import (
    RECORD,
    EngineDirectory,
    EngineRecord,
    check_engine_file,
    engine_directories,
    read_record,
)
from itr_deploy.errors import BundleError, EngineError
from tests.support.engine_records import GRAPH, directory_of


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
