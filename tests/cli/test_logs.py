"""Standard error gets records as text or JSON, and progress; the library itself is quiet."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from itr_deploy.cli.logs import set_verbosity, shown_logs
from tests.support.command import itr_deploy, python


def search(bundle: Path, gallery: Path, *options: str) -> list[str]:
    outcome = itr_deploy("search", bundle, "a zeppelin", "--gallery", gallery, "--json", *options)
    assert outcome.code == 0, outcome.err
    assert len(outcome.json) == 1
    return outcome.err.splitlines()


WARNING = "warning: the model does not know: zeppelin"


def test_warnings_are_shown_and_more_the_more_is_asked_for(
    bundle: Path, image_gallery: Path
) -> None:
    assert search(bundle, image_gallery) == [WARNING]
    assert search(bundle, image_gallery, "-q") == [WARNING]
    info = search(bundle, image_gallery, "-v")
    assert WARNING in info
    told = f"info: itr_deploy.runtime.matcher: {bundle}: imram, float32, runs by "
    assert any(line.startswith(told) for line in info)
    debug = search(bundle, image_gallery, "-vv")
    assert set(info) < set(debug)
    assert any(line.startswith("debug: itr_deploy.runtime.retriever: 1 text q") for line in debug)


def test_as_json_every_line_is_an_object_with_four_names(bundle: Path, image_gallery: Path) -> None:
    lines = [json.loads(line) for line in search(bundle, image_gallery, "--log-format", "json")]
    (line,) = lines
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "itr_deploy.deploy.searching",
        "message": "the model does not know: zeppelin",
    }


def test_steps_and_the_error_are_json_lines_too(bundle: Path, tmp_path: Path) -> None:
    options = ("--output", tmp_path / "out", "--log-format", "json")
    outcome = itr_deploy("ensemble", bundle, bundle, "--weight", "1", *options)
    assert outcome.code == 2
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "ERROR"]
    assert lines[0]["message"] == "reading the members"
    assert "weight" in lines[1]["message"]


def test_wrong_usage_is_told_in_the_format_that_was_asked_for() -> None:
    outcome = itr_deploy("inspect", "--log-format", "json")
    assert outcome.code == 2
    assert json.loads(outcome.err)["message"].startswith("missing argument 'PATH'")
    assert "'xml' is not one of" in itr_deploy("inspect", "x", "--log-format", "xml").error


def test_quiet_hides_progress_and_keeps_the_error(bundle: Path, tmp_path: Path) -> None:
    command = ("ensemble", bundle, bundle, "--weight", "1", "--output", tmp_path / "out")
    assert itr_deploy(*command).err.startswith("- reading the members\n")
    quiet = itr_deploy(*command, "-q")
    assert quiet.err.splitlines() == [quiet.error]
    as_json = itr_deploy(*command, "-q", "--log-format", "json")
    assert json.loads(as_json.err)["level"] == "ERROR"


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_warnings_of_python_are_a_line_for_those_who_ask_for_most(
    verbosity: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with shown_logs():
            set_verbosity(verbosity)
            decoder = threading.Thread(target=warnings.warn, args=("an odd\nfile",))
            decoder.start()
            decoder.join()
            warnings.warn("one more", RuntimeWarning, stacklevel=1)
    wanted = {"UserWarning: an odd file", "RuntimeWarning: one more"}
    told = {
        line.removeprefix("debug: itr_deploy.cli.logs: ")
        for line in capsys.readouterr().err.splitlines()
    }
    assert told == (wanted if verbosity == 2 else set())


def test_input_that_is_refused_is_one_line_and_no_bar(bundle: Path, tmp_path: Path) -> None:
    for verb in ("index", "evaluate", "tune"):
        output = ("--work" if verb == "tune" else "--output", tmp_path / verb)
        refused = itr_deploy(verb, bundle, "--data", tmp_path / "none", *output)
        assert refused.err.splitlines() == [refused.error]


def at_a_terminal(*arguments: object) -> str:
    """What a process writes to a standard error that is a terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, "-c", "from itr_deploy.cli.main import main; main()"]
    process = subprocess.Popen(
        [*command, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=its
    )
    os.close(its)
    written = b""
    # A terminal that nobody writes to any more reads as an error.
    with contextlib.suppress(OSError):
        while block := os.read(ours, 65536):
            written += block
    os.close(ours)
    process.wait()
    return written.decode()


def test_at_a_terminal_a_bar_that_is_not_shown_hides_no_record(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    index = ("index", bundle, "--data", data, "-v")
    quiet = at_a_terminal(*index, "--output", tmp_path / "a", "-q").splitlines()
    assert quiet
    assert all(line.startswith("info: itr_deploy.") for line in quiet)
    as_json = at_a_terminal(*index, "--output", tmp_path / "b", "--log-format", "json")
    assert {json.loads(line)["level"] for line in as_json.splitlines()} == {"INFO"}
    assert "━" in at_a_terminal(*index, "--output", tmp_path / "c")


def test_at_a_terminal_steps_are_json_lines_too(bundle: Path, tmp_path: Path) -> None:
    told = at_a_terminal(
        *("ensemble", bundle, bundle, "--weight", 1, "--output", tmp_path / "out"),
        *("--log-format", "json"),
    )
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "ERROR"]


def test_a_run_leaves_logging_as_it_was(bundle: Path) -> None:
    ours = logging.getLogger("itr_deploy")
    before = list(ours.handlers), ours.level
    itr_deploy("inspect", bundle, "-vv")
    assert (ours.handlers, ours.level) == before


PROGRAM = """
import logging, sys
import itr_deploy
if sys.argv[3:]:
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
itr_deploy.search(sys.argv[1], "a zeppelin", gallery=sys.argv[2])
"""


@pytest.mark.parametrize("configured", [False, True])
def test_the_library_is_quiet_unless_logging_is_configured(
    configured: bool, bundle: Path, image_gallery: Path
) -> None:
    outcome = python(PROGRAM, bundle, image_gallery, *(["shown"] if configured else []))
    assert outcome.code == 0
    said = "itr_deploy.deploy.searching WARNING the model does not know: zeppelin\n"
    assert outcome.err == (said if configured else "")
