from __future__ import annotations

import sys
from pathlib import Path

import pytest

from itr_deploy.bundle.exchange import exchange


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
def test_two_directories_change_places(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")
