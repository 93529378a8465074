"""Interrupted builds."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import onnx
import pytest

from itr_deploy.engines.builder.build import BuildOptions, EngineBuilder
from itr_deploy.engines.builder.progress import Cancellation
from itr_deploy.engines.library import import_library
from tests.engines.builder.conftest import PROFILE
from tests.support.engines import RTX, GraphMaker


def test_a_build_that_is_not_interrupted_gives_its_result() -> None:
    cancellation = Cancellation()
    assert cancellation.run(lambda: 5) == 5
    assert cancellation.wanted


def test_an_error_of_the_build_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Cancellation().run(lambda: 1 // 0)


def test_ctrl_c_is_raised_once_the_build_has_ended() -> None:
    cancellation, ended = Cancellation(), threading.Event()

    def build() -> None:
        signal.raise_signal(signal.SIGINT)
        while cancellation.wanted:
            time.sleep(0.01)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        cancellation.run(build)
    assert ended.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_build_runs_in_any_thread() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(Cancellation().run(lambda: 5)))
    thread.start()
    thread.join()
    assert results == [5]


@RTX
def test_ctrl_c_ends_a_real_build_at_its_next_step(tmp_path: Path) -> None:
    onnx.save(GraphMaker().linear().attention().model(), tmp_path / "g.onnx")
    trt = import_library("tensorrt-rtx")
    builder = EngineBuilder(trt, "tensorrt-rtx", "float32", ("8.6",), False, BuildOptions())
    told: list[str] = []

    def interrupt(phase: str, done: int, total: int) -> None:
        if not told:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        told.append(phase)

    with pytest.raises(KeyboardInterrupt):
        builder.build("g", tmp_path / "g.onnx", PROFILE, interrupt)
    cut = set(told)
    builder.build("g", tmp_path / "g.onnx", PROFILE, lambda phase, *_: told.append(phase))
    assert cut < set(told)
