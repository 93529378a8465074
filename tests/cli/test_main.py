from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.command import itr_deploy, python

RUN = "import sys; from itr_deploy.cli.main import main; sys.argv[0] = 'itr-deploy'; main()"
VERBS = ["export", "verify", "index", "search", "inspect"]


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_verb_and_the_exit_codes(flag: str) -> None:
    outcome = itr_deploy(flag)
    assert outcome.code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in outcome.out
    assert "3 parity missed" in outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    outcome = itr_deploy(verb, "--help")
    assert outcome.code == 0
    assert f"itr-deploy {verb}" in outcome.out.replace("\n", " ")


def test_export_lists_the_families_and_their_options() -> None:
    assert "imram" in itr_deploy("export", "--help").out
    options = itr_deploy("export", "imram", "--help").out
    for option in ("--checkpoint", "--vocab", "--output", "--precompute", "--opset", "--force"):
        assert option in options


def test_the_version_is_the_packages() -> None:
    assert itr_deploy("--version").out == f"itr-deploy {version('itr-deploy')}\n"


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("search", "--help"), ("frob",)]
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = f"""
import atexit, sys
heavy = {{"torch", "lancedb", "onnxruntime", "onnx", "pyarrow", "numpy", "nltk"}}
atexit.register(lambda: print("loaded:", sorted(heavy & sys.modules.keys())))
{RUN}
"""
    assert "loaded: []" in python(code, *arguments).out


@pytest.mark.parametrize(
    "arguments", [("frob",), ("export", "frob"), ("search",), ("inspect", "--frob", "x")]
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments: tuple[str, ...]) -> None:
    outcome = itr_deploy(*arguments)
    assert outcome.code == 2
    assert "Error:" in outcome.err
    assert "Traceback" not in outcome.err


def test_no_arguments_show_the_help() -> None:
    outcome = itr_deploy()
    assert outcome.code in (0, 2)
    assert "export" in outcome.out + outcome.err


def test_the_installed_command_runs(bundle: Path) -> None:
    command = Path(sys.executable).parent / "itr-deploy"
    done = subprocess.run([command, "inspect", bundle], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "imram" in done.stdout


def test_an_error_is_one_line_on_standard_error(tmp_path: Path) -> None:
    outcome = itr_deploy("inspect", tmp_path / "absent")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.splitlines() == [outcome.error]


def test_an_error_in_names_with_line_breaks_stays_one_line(tmp_path: Path) -> None:
    assert "a b" in itr_deploy("inspect", tmp_path / "a\nb").error


@pytest.mark.parametrize(
    ("verb", "blocked"), [("export", "torch"), ("export", "onnxscript"), ("verify", "torch")]
)
def test_without_the_export_half_the_error_names_the_extra(
    verb: str, blocked: str, bundle: Path, tmp_path: Path
) -> None:
    files = ("--checkpoint", "a", "--vocab", "b", "--output", tmp_path / "c")
    arguments = {
        "export": ("export", "imram", *files),
        "verify": ("verify", bundle, "--checkpoint", "a"),
    }
    outcome = python(f"import sys; sys.modules[{blocked!r}] = None\n{RUN}", *arguments[verb])
    assert outcome.code == 4, outcome.err
    assert "is not installed; pip install 'itr-deploy[export,cpu]'" in outcome.error
    assert outcome.error.startswith(f"error: {blocked}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["index", "search"])
def test_without_onnxruntime_the_error_names_the_command_that_installs_it(
    verb: str, bundle: Path, data: Path, image_gallery: Path, tmp_path: Path
) -> None:
    arguments = {
        "index": ("index", bundle, "--data", data, "--output", tmp_path / "new"),
        "search": ("search", bundle, "a dog", "--gallery", image_gallery),
    }
    outcome = python(f"import sys; sys.modules['onnxruntime'] = None\n{RUN}", *arguments[verb])
    assert outcome.code == 4, outcome.err
    assert "pip install 'itr-deploy[cpu]'" in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_quietly(bundle: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", RUN, "inspect", bundle, "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    from tests.support.golden import FULL

    output = tmp_path / "place" / "bundle"
    arguments = ["export", "imram", "--checkpoint", FULL.checkpoint, "--vocab", FULL.vocab]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments), "--output", str(output)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "graph image_encoder" in line:
            break
    time.sleep(0.5)
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert list(output.parent.iterdir()) == []
