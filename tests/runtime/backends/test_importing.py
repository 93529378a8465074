from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from itr_deploy.runtime.backends.importing import (
    TELEMETRY,
    switch_telemetry_off,
    telemetry_wanted,
)
from itr_deploy.runtime.gallery import Gallery
from tests.support.command import python

ROOT = Path(__file__).resolve().parents[3]
IMPORT = re.compile(r"^\s*(import|from) onnxruntime\b|import_module\(.onnxruntime", re.MULTILINE)


def test_the_package_imports_onnxruntime_in_one_place() -> None:
    """lint-imports sees plain imports only."""
    files = (ROOT / "itr_deploy").rglob("*.py")
    importing = {str(file.relative_to(ROOT)) for file in files if IMPORT.search(file.read_text())}
    assert importing == {"itr_deploy/runtime/backends/importing.py"}


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TELEMETRY, "CI"):
        monkeypatch.delenv(name, raising=False)


SEARCH = """
import sys
from itr_deploy import search
search(sys.argv[1], "a red circle", gallery=sys.argv[2], k=1)
"""
DOCTOR = "from itr_deploy import doctor; doctor()"
EXPORT = """
import sys
from pathlib import Path
from itr_deploy.deploy.export_half import export_half
with export_half():
    from itr_deploy.diagnosis.selftest import write_small_model
import itr_deploy
model = write_small_model(Path(sys.argv[3]))
itr_deploy.export("imram", checkpoint=model.checkpoint, vocab=model.vocabulary,
                  output=sys.argv[3] + "/bundle")
"""


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(SEARCH, id="search"),
        pytest.param(DOCTOR, id="doctor", marks=pytest.mark.slow),
        pytest.param(EXPORT, id="export", marks=pytest.mark.full),
    ],
)
def test_nothing_is_left_in_the_users_home(
    program: str, bundle: Path, galleries: dict[str, Gallery], tmp_path: Path
) -> None:
    if program == EXPORT:
        pytest.importorskip("torch")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    places = (bundle, galleries["image-float16"].path, work)
    outcome = python(program, *places, env={"HOME": str(home), "XDG_CACHE_HOME": str(home / "c")})
    assert outcome.code == 0, outcome.err
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("undecided")
def test_what_the_user_decided_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TELEMETRY[0], "0")
    switch_telemetry_off()
    assert (os.environ[TELEMETRY[0]], TELEMETRY[1] in os.environ) == ("0", False)
    assert telemetry_wanted()
    monkeypatch.delenv(TELEMETRY[0])
    monkeypatch.setenv(TELEMETRY[1], "1")
    switch_telemetry_off()
    assert not telemetry_wanted()
    assert os.environ[TELEMETRY[0]] == "1"


BROKEN = """
import sys
sys.path.insert(0, sys.argv[1])
from itr_deploy import Matcher, SetupError
try:
    Matcher.load(sys.argv[2])
except SetupError as error:
    print(error)
"""


def test_an_onnxruntime_that_does_not_load_is_one_line(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise OSError('libgomp.so.1: not there\\nhelp')")
    done = python(BROKEN, tmp_path, bundle)
    assert done.out.strip() == (
        "onnxruntime does not load: libgomp.so.1: not there; "
        "itr-deploy doctor looks at the installation"
    )
