"""Timing caches. TensorRT for RTX has their calls, but these only return bytes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itr_deploy.engines.builder.timing import TimingCache
from itr_deploy.engines.library import import_library, logger
from itr_deploy.errors import EngineError, OutputError
from tests.support.engines import RTX
from tests.support.files import largest_file, tree

pytestmark = [RTX, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def config() -> Any:
    trt = import_library("tensorrt-rtx")
    return trt.Builder(logger(trt)).create_builder_config()


def test_a_build_writes_what_it_timed_and_the_next_one_reads_it(
    config: Any, tmp_path: Path
) -> None:
    file = tmp_path / "timings" / "cache"
    TimingCache.attach(config, file).save()
    assert file.stat().st_size > 0
    before = file.stat()
    TimingCache.attach(config, file).save()
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_file_nothing_is_written(config: Any, tmp_path: Path) -> None:
    TimingCache.attach(config, None).save()
    assert tree(tmp_path) == {}


def test_a_full_disk_leaves_no_half_of_a_cache(config: Any, tmp_path: Path) -> None:
    cache = TimingCache.attach(config, tmp_path / "cache")
    with largest_file(10), pytest.raises(OutputError, match="cache: File too large"):
        cache.save()
    assert tree(tmp_path) == {}


def test_a_directory_in_the_place_of_the_file_is_one_line(config: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read: Is a directory"):
        TimingCache.attach(config, tmp_path)
