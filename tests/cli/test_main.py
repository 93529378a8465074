from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from itr_deploy.cli.verbs import VERBS
from tests.support.command import itr_deploy, python

RUN = "import sys; from itr_deploy.cli.main import main; sys.argv[0] = 'itr-deploy'; main()"
FAMILIES = ["imram", "lhsc", "dime", "scan", "sgraf", "vsrn", "vse_infty", "camera", "leaprr"]
HEAVY = {
    "click",
    "torch",
    "numpy",
    "lancedb",
    "pyarrow",
    "onnxruntime",
    "onnx",
    "nltk",
    "tokenizers",
}


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_verb_and_the_exit_codes(flag: str) -> None:
    outcome = itr_deploy(flag)
    assert (outcome.code, outcome.err) == (0, "")
    listed = [line.split()[1] for line in outcome.out.splitlines() if line.startswith("│")]
    assert [word for word in listed if word in VERBS] == list(VERBS)
    assert "3 parity missed" in outcome.out


@pytest.mark.parametrize("words", [*zip(VERBS), *(("export", name) for name in FAMILIES)])
def test_every_verb_explains_itself_and_takes_what_every_verb_takes(
    words: tuple[str, ...],
) -> None:
    outcome = itr_deploy(*words, "-h")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Usage: itr-deploy {' '.join(words)} " in outcome.out
    if words != ("export",):
        runs = words[0] in ("serve", "up")  # until it is ended, without a result to print
        taken = ("--verbose", "-v", "--quiet", "-q", "--log-format", *(() if runs else ("--json",)))
        for option in taken:
            assert f" {option} " in outcome.out


def test_export_lists_the_families_and_their_options() -> None:
    listed = itr_deploy("export", "--help").out
    assert all(f"│ {name} " in listed for name in FAMILIES)
    options = itr_deploy("export", "imram", "--help").out
    for option in ("--checkpoint", "--vocab", "--output", "--precompute", "--opset", "--force"):
        assert option in options


def test_what_may_be_given_is_shown_without_the_old_spellings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = itr_deploy("index", "--help").out
    assert "<float16|float32|int8>" in shown
    assert "--bank" not in shown
    assert "--phi-limit" not in shown


def test_the_version_is_the_packages() -> None:
    assert itr_deploy("--version").out == f"itr-deploy {version('itr-deploy')}\n"


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("search", "--help"), ("export", "dime", "-h"), ("frob",)],
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    # Typer loads pydantic to read options other than these.
    heavy = HEAVY | ({"pydantic"} if arguments in (("--help",), ("--version",)) else set())
    code = f"""
import atexit, sys
atexit.register(lambda: print("loaded:", sorted({heavy} & sys.modules.keys())))
{RUN}
"""
    assert "loaded: []" in python(code, *arguments).out


def test_help_imports_no_verb() -> None:
    code = f"""
import atexit, sys
ours = {{f"itr_deploy.cli.{{name.replace('-', '_')}}" for name in {list(VERBS)}}}
atexit.register(lambda: print("loaded:", sorted(ours & sys.modules.keys())))
{RUN}
"""
    assert "loaded: []" in python(code, "--help").out
    assert "loaded: ['itr_deploy.cli.search']" in python(code, "search", "--help").out


SEARCH = ("search", "bundle", "a dog", "--gallery", "gallery")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frob",), "no such command 'frob'; see itr-deploy --help"),
        (("serch",), "no such command 'serch'. Did you mean 'search'"),
        (("export", "imrma"), "Did you mean 'imram'?; see itr-deploy export --help"),
        (("search",), "missing argument 'BUNDLE'; see itr-deploy search --help"),
        (SEARCH[:3], "missing option '--gallery'; see itr-deploy search --help"),
        ((*SEARCH, "--rank"), "no such option: --rank"),
        ((*SEARCH, "--wher", "x"), "no such option: --wher (Possible options: --help, --where)"),
        ((*SEARCH, "-k", "many"), "'-k': should be a valid integer"),
        ((*SEARCH, "-k", "many"), ", not 'many'; see itr-deploy search --help"),
        (("inspect", "x", "y"), "unexpected extra argument(s) (y); see itr-deploy inspect"),
        (("index", "b", "--output", "g", "--storage", "int4"), "'int4' is not one of 'float16', "),
        (("evaluate", "b", "--data", "d", "--folds", "0"), "equal to 1, not '0'; see itr-deploy"),
        (("index", "b", "--output", "g"), "--data is missing; give the directory"),
        (("index", "b", "--output", "g", "--pictures", ""), "--pictures is empty; give a value"),
        (("index", "b", "--output=", "--data", "d"), "--output is empty; give a value (is a va"),
        (("export", "imram", "--vocab", ""), "--vocab is empty; give a value (is a variable"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(arguments: tuple[str, ...], said: str) -> None:
    outcome = itr_deploy(*arguments)
    assert outcome.code == 2
    assert outcome.err.splitlines() == [outcome.error]
    assert said in outcome.error


@pytest.mark.parametrize("arguments", [(), ("export",)])
def test_without_a_verb_or_a_family_the_help_is_shown(arguments: tuple[str, ...]) -> None:
    outcome = itr_deploy(*arguments)
    assert outcome.code == 2
    assert outcome.out.strip() == itr_deploy(*arguments, "--help").out.strip()


def test_a_fault_of_our_own_has_pythons_plain_traceback(tmp_path: Path) -> None:
    code = f"""
import itr_deploy
itr_deploy.inspect = lambda path, **options: 1 / 0
{RUN}
"""
    outcome = python(code, "inspect", tmp_path, env={"FORCE_COLOR": "1"})
    assert outcome.code == 1
    assert "Traceback (most recent call last):\n" in outcome.err
    assert outcome.err.endswith("ZeroDivisionError: division by zero\n")
    assert "╭" not in outcome.err


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


@pytest.mark.parametrize(
    "words", [("inspect", "BUNDLE", "--json"), ("inspect", "BUNDLE"), ("search", "--help")]
)
def test_a_closed_pipe_ends_quietly(words: tuple[str, ...], bundle: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *(bundle if word == "BUNDLE" else word for word in words)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_output_that_cannot_be_written_is_one_line(bundle: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", RUN, "inspect", bundle, "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the result: No space left on device\n"


@pytest.mark.slow
def test_an_interrupted_export_leaves_nothing_behind(tmp_path: Path) -> None:
    """Once for real; at other steps in tests/exporters/test_command.py."""
    from tests.support.golden import TEXT

    output = tmp_path / "place" / "bundle"
    arguments = ["export", "imram", "--checkpoint", TEXT.checkpoint, "--vocab", TEXT.vocab]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments), "--output", str(output)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "graph image_encoder" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert list(output.parent.iterdir()) == []
