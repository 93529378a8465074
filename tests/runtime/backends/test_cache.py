from __future__ import annotations

import sys
from pathlib import Path

import pytest

from itr_deploy.runtime.backends.cache import VARIABLE, cache_directory


def test_the_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "here"))
    assert cache_directory() == tmp_path / "here"
    assert cache_directory("tensorrt", "timing") == tmp_path / "here" / "tensorrt" / "timing"
    assert not (tmp_path / "here").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
def test_else_the_systems_place_for_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "itr-deploy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory("engines") == tmp_path / ".cache" / "itr-deploy" / "engines"


def test_a_relative_one_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "cache")
    assert cache_directory() == tmp_path / "cache"
