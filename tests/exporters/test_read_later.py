"""A function that is read at its first use is the one that is read at once."""

from __future__ import annotations

import onnxscript
import pytest
from onnxscript import opset18 as op
from onnxscript.onnx_types import FLOAT

from itr_deploy.exporters.read_later import ReadLater, script

OPSET = onnxscript.values.Opset("own", 1)


def doubled(x: FLOAT) -> FLOAT:
    return op.Add(x, x)


def test_a_function_is_the_one_that_is_read_at_once() -> None:
    later, once = script(opset=OPSET)(doubled), onnxscript.script(opset=OPSET)(doubled)
    assert isinstance(later, onnxscript.OnnxFunction)
    assert later.__dict__.keys() == {"_read"}
    assert later.op_signature == once.op_signature
    assert later.to_function_proto() == once.to_function_proto()
    for name in ("name", "__name__", "__doc__", "opset"):
        assert getattr(later, name) == getattr(once, name)
    with pytest.raises(AttributeError, match="no_such"):
        later.no_such  # noqa: B018


def test_a_function_that_cannot_be_read_says_so_when_it_is_used() -> None:
    later = script(opset=OPSET)(len)
    assert isinstance(later, ReadLater)
    with pytest.raises(TypeError, match="functions only"):
        later.name  # noqa: B018
