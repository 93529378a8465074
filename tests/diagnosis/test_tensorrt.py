from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from itr_deploy.diagnosis.machine import Machine
from itr_deploy.diagnosis.tensorrt import check_library
from tests.support.packages import fake_module


@pytest.mark.skipif(sys.platform != "linux", reason="tensorrt-rtx has wheels for x86-64 only")
def test_the_installed_library_is_imported_and_named() -> None:
    check = check_library(Machine(), "tensorrt-rtx")
    assert (check.state, check.found) == ("ok", version("tensorrt-rtx"))


def test_a_tensorrt_is_imported_to_see_that_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake_module(tmp_path / "good", "tensorrt", "__version__ = '10.9'"))
    check = check_library(Machine(), "tensorrt")
    assert (check.state, check.found) == ("ok", "10.9")
    monkeypatch.syspath_prepend(
        fake_module(tmp_path / "bad", "tensorrt", "import os; os.kill(os.getpid(), 11)")
    )
    check = check_library(Machine(), "tensorrt")
    assert check.state == "problem"
    assert check.found == "does not load: the process crashed: SIGSEGV"
    assert check.mend == "pip uninstall tensorrt, then pip install 'itr-deploy[tensorrt]'"
