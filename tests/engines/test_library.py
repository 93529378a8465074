from __future__ import annotations

import pytest

from itr_deploy.engines import library as tensorrt_library
from itr_deploy.engines.library import (
    default_target,
    hearing,
    import_library,
    installed,
    logger,
)
from itr_deploy.errors import SetupError
from tests.support.command import python
from tests.support.engines import RTX


def test_a_library_that_is_missing_is_named_with_the_extra_that_has_it() -> None:
    code = """
import sys
sys.modules["tensorrt_rtx"] = None
from itr_deploy.errors import SetupError
from itr_deploy.engines.library import import_library, installed
print(installed("tensorrt-rtx"))
try:
    import_library("tensorrt-rtx")
except SetupError as error:
    print(error)
"""
    assert python(code).out == (
        "False\ntensorrt_rtx is not installed; pip install 'itr-deploy[tensorrt-rtx]'\n"
    )


def test_a_library_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(tensorrt_library, "installed", lambda target: True)
    monkeypatch.setattr(tensorrt_library, "import_module", broken)
    with pytest.raises(SetupError, match=r"does not load: libnvinfer\.so\.10: cannot open"):
        import_library("tensorrt")


@pytest.mark.parametrize(
    ("there", "target"),
    [({"tensorrt", "tensorrt-rtx"}, "tensorrt"), ({"tensorrt-rtx"}, "tensorrt-rtx")],
)
def test_the_default_is_tensorrt_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, there: set[str], target: str
) -> None:
    monkeypatch.setattr(tensorrt_library, "installed", there.__contains__)
    assert default_target() == target


def test_with_neither_library_both_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_library, "installed", lambda target: False)
    with pytest.raises(SetupError, match=r"itr-deploy\[tensorrt\]', or 'itr-deploy\[tensorrt-rtx"):
        default_target()


@RTX
def test_every_builder_of_a_process_is_heard_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert installed("tensorrt-rtx")
    trt = import_library("tensorrt-rtx")
    for _ in range(2):
        with hearing(trt) as heard:
            network = trt.Builder(logger(trt)).create_network(0)
            assert not trt.OnnxParser(network, logger(trt)).parse(b"no graph")
        assert any("Failed to parse the ONNX model" in text for text in heard.errors)
        assert all("\n" not in text for text in heard.errors)
    assert logger(trt) is logger(trt)
    assert "Failed to parse" not in capfd.readouterr().err
