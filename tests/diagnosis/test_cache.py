from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy.diagnosis.cache import check_cache
from itr_deploy.runtime.backends.cache import VARIABLE


def test_it_is_shown_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "a.timing").write_bytes(bytes(3 << 20))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    check = check_cache()
    assert (check.state, check.found) == ("ok", f"{tmp_path}, 3.0 MiB")


def test_one_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a" / "b"))
    check = check_cache()
    assert (check.state, check.found) == ("ok", f"{tmp_path / 'a' / 'b'}, 0 bytes")
    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    check = check_cache()
    assert check.state == "problem"
    assert check.found.endswith("file/cache cannot be written: Not a directory")
    assert str(check.mend).startswith("set ITR_DEPLOY_CACHE")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system without files")
def test_one_on_a_file_system_that_refuses_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/proc/self/cache")
    check = check_cache()
    assert check.state == "problem"
    assert "/proc/self/cache cannot be written" in check.found
