"""PyTorch imported in part exports the same, and what was left out can be had."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from itr_deploy.exporters import importing
from itr_deploy.exporters.importing import quick_imports

MADE = """
import torch
from torch import nn
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
import onnx_ir
x = GraphTensor("x", torch.float32, ("batch", "length", 4))
torch.manual_seed(0)
model = to_onnx(nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)), [[x]], [x], 20)
for node in model.graph:
    node.metadata_props.clear()
print(model.graph)
"""
WHOLE = "from itr_deploy.exporters import importing\n"
PART = WHOLE + "importing.never_compiles()\nwith importing.quick_imports():\n    import torch\n"


def told(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_module_of_a_frame_is_the_one_that_is_searched_for() -> None:
    frame = sys._getframe()
    searched = inspect.getmodule(frame)
    with quick_imports():
        assert inspect.getmodule(frame) is searched is sys.modules[__name__]
        assert inspect.getmodule(inspect) is inspect
        namespace = {"frame": sys._getframe, "__name__": "inspect"}
        assert inspect.getmodule(eval("frame()", namespace)) is not inspect
    assert inspect.getmodule is importing._searched


@pytest.mark.parametrize("given", ["", "importing.SHARDED = 'torch._dynamo.exc'\n"])
def test_the_exporter_is_whole_without_the_compilers_rest(given: str) -> None:
    part = WHOLE + given + PART + MADE
    assert told(part) == told(MADE)


def test_what_was_left_out_is_there_when_it_is_asked_for() -> None:
    after = """
assert torch.distributed.is_available()
import sys
assert "torch.distributed.fsdp" not in sys.modules
assert "torch.distributed.tensor._ops" not in sys.modules
from torch.distributed.tensor import DTensor as unused, Shard
from torch.distributed.tensor import DTensor
assert DTensor is not unused and issubclass(DTensor, torch.Tensor)
import torch.distributed.fsdp._fully_shard
import torch._dynamo.polyfills.loader as loader
print(len(loader.POLYFILLED_MODULES) > 0)
"""
    assert told(PART + after) == "True\n"
