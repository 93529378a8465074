"""Interruptions that Python or a library swallows still end the command."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from itr_deploy.cli.interrupts import (
    Interruption,
    check_interrupted,
    exit_code_of,
    interruptible,
)
from tests.support.golden import FULL

BOTH = pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])


class Item:
    """Something that a weak reference refers to."""


def lose(sent: signal.Signals) -> None:
    """Interrupt a callback of a weak reference, of which Python reports the exception."""
    item = Item()
    reference = weakref.ref(item, lambda _: signal.raise_signal(sent))
    del item
    assert reference() is None


def swallow(sent: signal.Signals) -> None:
    """Interrupt what catches everything."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(sent)


def work_after_losing(sent: signal.Signals) -> None:
    """Lose an interruption, then go on."""
    lose(sent)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pass


@BOTH
def test_what_python_lost_is_raised_again_before_the_work_ends(
    sent: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with interruptible(Interruption()), pytest.raises(KeyboardInterrupt):
        work_after_losing(sent)
    assert capsys.readouterr().err == ""


@BOTH
@pytest.mark.parametrize("forget", [lose, swallow])
def test_the_next_step_raises_it_too(
    forget: Callable[[signal.Signals], None], sent: signal.Signals
) -> None:
    interruption = Interruption()
    with interruptible(interruption):
        check_interrupted()
        forget(sent)
        assert interruption.arrived
        with pytest.raises(KeyboardInterrupt):
            check_interrupted()


def work_with_a_clean_up() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        check_interrupted()
        try:
            raise ValueError("turned into") from error
        finally:
            check_interrupted()


def test_a_clean_up_is_not_interrupted_again() -> None:
    with interruptible(Interruption()), pytest.raises(ValueError, match="turned into"):
        work_with_a_clean_up()


def test_other_lost_errors_are_reported_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    reported: list[type[BaseException]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda told: reported.append(told.exc_type))
        with interruptible(Interruption()):
            item = Item()
            reference = weakref.ref(item, lambda _: 1 / 0)
            del item
            assert reference() is None
    assert reported == [ZeroDivisionError]


def test_handlers_are_those_from_before_when_it_ends() -> None:
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(kind) for kind in kinds], sys.unraisablehook
    with pytest.raises(ZeroDivisionError), interruptible(Interruption()):
        raise ZeroDivisionError
    assert ([signal.getsignal(kind) for kind in kinds], sys.unraisablehook) == before
    check_interrupted()


@BOTH
def test_a_signal_that_is_to_be_ignored_is(sent: signal.Signals) -> None:
    before = signal.signal(sent, signal.SIG_IGN)
    try:
        interruption = Interruption()
        with interruptible(interruption):
            signal.raise_signal(sent)
            check_interrupted()
        assert not interruption.arrived
    finally:
        signal.signal(sent, before)


IN_A_COLLECTION = """
import gc, signal, sys
from itr_deploy.cli.main import main
number, module = int(sys.argv.pop(1)), sys.argv.pop(1)
def collected(phase, info):
    # Python reports what a callback of a collection raises, and goes on.
    if phase == "stop" and module in sys.modules:
        gc.callbacks.clear()
        signal.raise_signal(number)
gc.callbacks.append(collected)
gc.set_threshold(50)
sys.argv[0] = "itr-deploy"
main()
"""


def run(*arguments: object, program: str = IN_A_COLLECTION) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@BOTH
def test_a_verb_that_was_done_before_it_noticed_ends_with_130(
    sent: signal.Signals, bundle: Path
) -> None:
    done = run(int(sent), "itr_deploy.bundle.store", "inspect", bundle)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("error: interrupted")
    assert "Exception ignored" not in done.stderr


@BOTH
def test_a_signal_at_the_interpreters_end_ends_it(sent: signal.Signals) -> None:
    program = """
import atexit, signal, sys
from itr_deploy.cli.main import main
number = int(sys.argv.pop(1))
atexit.register(lambda: signal.raise_signal(number))
sys.argv[0] = "itr-deploy"
main()
"""
    done = run(int(sent), "--version", program=program)
    assert done.returncode == -sent
    assert done.stdout.startswith("itr-deploy ")
    assert done.stderr == ""


WHILE_IMPORTING = """
import signal, sys
number, wanted = int(sys.argv.pop(1)), sys.argv.pop(1)
from itr_deploy.cli.main import main
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            signal.raise_signal(number)
sys.meta_path.insert(0, Interrupt())
sys.argv[0] = "itr-deploy"
main()
"""


@pytest.mark.parametrize(
    ("module", "sent"),
    [
        ("itr_deploy.cli.app", signal.SIGINT),
        ("typer", signal.SIGTERM),
        ("torch", signal.SIGTERM),
        ("torch._C", signal.SIGINT),
        ("onnx", signal.SIGTERM),
        ("itr_deploy.exporters.tracing", signal.SIGINT),
    ],
)
def test_a_signal_while_modules_are_loading_ends_with_130_and_no_traceback(
    module: str, sent: signal.Signals, tmp_path: Path
) -> None:
    files = ("--checkpoint", FULL.checkpoint, "--vocab", FULL.vocab)
    export = ("export", "imram", *files, "--output", tmp_path / "place" / "bundle")
    done = run(int(sent), module, *export, program=WHILE_IMPORTING)
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("error: interrupted") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "place").exists()


def test_ctrl_c_before_signals_are_handled_shows_no_traceback() -> None:
    done = run(int(signal.SIGINT), "itr_deploy.cli.logs", "--version", program=WHILE_IMPORTING)
    assert done.returncode == 130
    assert done.stderr.startswith("error: interrupted")
    assert len(done.stderr.splitlines()) == 1


@BOTH
@pytest.mark.parametrize("became", [RuntimeError, ImportError, SystemError])
def test_an_interruption_that_became_another_error_is_still_one(
    became: type[Exception], sent: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> int:
        try:
            signal.raise_signal(sent)
        except KeyboardInterrupt:
            raise became("a library's own") from None
        return 0

    assert exit_code_of(work) == 130
    assert "a library's own" not in caplog.text


def test_an_error_without_an_interruption_is_not_hidden() -> None:
    def work() -> int:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        exit_code_of(work)


WITHIN_TRACING = """
import signal, sys
from itr_deploy.cli.main import main
number, count = int(sys.argv.pop(1)), int(sys.argv.pop(1))
from torch._subclasses.fake_tensor import FakeTensorMode
dispatch = FakeTensorMode.dispatch
seen = 0
def interrupted(self, *args, **kwargs):
    # Below C++, where torch.export runs the model on tensors without values.
    global seen
    seen += 1
    if seen == count:
        signal.raise_signal(number)
    return dispatch(self, *args, **kwargs)
FakeTensorMode.dispatch = interrupted
sys.argv[0] = "itr-deploy"
main()
"""


@BOTH
@pytest.mark.parametrize(
    "count",
    [pytest.param(1, marks=pytest.mark.full), 40, pytest.param(300, marks=pytest.mark.full)],
)
def test_a_signal_inside_torch_export_ends_with_130_and_leaves_nothing(
    count: int, sent: signal.Signals, tmp_path: Path
) -> None:
    files = ("--checkpoint", FULL.checkpoint, "--vocab", FULL.vocab)
    export = ("export", "imram", *files, "--output", tmp_path / "bundle")
    done = run(int(sent), count, *export, program=WITHIN_TRACING)
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
