"""The short ways through PyTorch's exporter lead to the same graphs as the long ones."""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import onnxscript.optimizer
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from itr_deploy.bundle.manifest import Precision
from itr_deploy.exporters import optimising, shortcuts
from itr_deploy.exporters.garbage import collected_later
from itr_deploy.exporters.instead import instead
from itr_deploy.exporters.optimising import optimise
from itr_deploy.exporters.specs import GraphTensor
from itr_deploy.exporters.tracing import to_onnx
from itr_deploy.exporters.translating import captured
from itr_deploy.models.layers import bigru_two_pass, l2_norm, position_mask
from tests.support.graph_form import form

X = GraphTensor("x", torch.float32, ("batch", "length", 4))
LENGTHS = GraphTensor("lengths", torch.int64, ("batch",))
Y = GraphTensor("y", torch.float32, ("batch", "length", 4))


class Mixed(nn.Module):
    """Whole numbers with fractions, numbers with tensors, masks, reshapes and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        words = l2_norm(bigru_two_pass(self.rnn, x, lengths), -1)
        real = position_mask(lengths, x.shape[1])
        share = lengths / (lengths + 1) - 1 * lengths.unsqueeze(-1).sum(dim=-1)
        logits = torch.where(real.unsqueeze(-1), self.linear(torch.cat([words, x], dim=-1)), -30)
        weights = torch.softmax(logits * math.pi, dim=-1).reshape(x.shape[0], x.shape[1] * 2, 2)
        mean = weights.reshape(*x.shape) * share[:, None, None] + real.unsqueeze(-1)
        return mean @ self.linear.weight[:, :4]


@contextmanager
def the_long_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left out but the decomposition, which `test_translating` is about."""

    @contextmanager
    def only_that(module: str, name: str, value: Any) -> Iterator[None]:
        if name != "decompose_with_registry":
            yield
            return
        with instead(module, name, value):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(shortcuts, "instead", only_that)
        patch.setattr(shortcuts, "composite_rules", dict)
        yield


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_graph_is_the_one_of_the_long_way(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Mixed().eval()
    short = to_onnx(module, [X, LENGTHS], [Y], 20, precision)
    with the_long_way(monkeypatch):
        long = to_onnx(module, [X, LENGTHS], [Y], 20, precision)
    assert form(short) == form(long)
    assert any(node.op_type == "GRU" for node in short.graph)


def test_a_gru_is_the_one_that_reorders_its_weights_in_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = Mixed().eval()
    before = list(module.state_dict()), len(list(module.buffers()))
    made = to_onnx(module, [X, LENGTHS], [Y], 20)
    assert before == (list(module.state_dict()), len(list(module.buffers())))
    with monkeypatch.context() as patch:
        patch.setattr("itr_deploy.exporters.tracing.onnx_gru_weights", lambda _: collected_later())
        assert form(made) == form(to_onnx(module, [X, LENGTHS], [Y], 20))


def test_only_the_operators_of_a_program_are_read() -> None:
    shapes = {"args": ({0: torch.export.Dim.DYNAMIC},)}
    program = torch.export.export(Doubled(), (torch.rand(3, 4),), dynamic_shapes=shapes)
    library = shortcuts._Library(shortcuts.operators_of(program))
    found = {entry.qualified_name.split(".")[0] for entry in library.get_torchlib_ops()}
    assert {"aten::mul", "aten::tanh", "aten::_to_copy"} <= found <= {
        "aten::mul", "aten::tanh", *shortcuts.ADDED
    }  # fmt: skip


def test_what_was_traced_can_be_run() -> None:
    given = torch.rand(3, 4)
    program = captured(Doubled(), (given,), {"args": ({0: torch.export.Dim.DYNAMIC},)})
    assert torch.equal(program.module()(given), Doubled()(given))
    assert "tanh" in program.graph_module.code


class Doubled(nn.Module):
    def forward(self, *args: Tensor) -> Tensor:
        return torch.tanh(2 * args[0])


def test_one_thread_traces_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    active: list[None] = []
    found: list[int] = []
    both = threading.Event()

    def captured(*given: Any) -> Any:
        active.append(None)
        if len(active) == 2:
            both.set()
        both.wait(0.2)
        found.append(len(active))
        active.pop()
        raise KeyError

    def export() -> None:
        with pytest.raises(KeyError):
            to_onnx(Mixed().eval(), [X, LENGTHS], [Y], 20)

    monkeypatch.setattr("itr_deploy.exporters.tracing.captured", captured)
    threads = [threading.Thread(target=export) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1]


def test_what_is_replaced_comes_back() -> None:
    before = torch.fx.Interpreter.run_node

    @instead("torch.fx", "Interpreter.run_node", shortcuts._nothing)
    def failing() -> None:
        assert torch.fx.Interpreter.run_node is shortcuts._nothing
        raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.fx.Interpreter.run_node is before


@pytest.mark.parametrize("name", [("torch.no_module", "x"), ("torch.fx", "Interpreter.no_name")])
def test_without_a_name_in_pytorch_the_long_way_is_taken(name: tuple[str, str]) -> None:
    with instead(*name, None):
        pass


def test_rules_are_left_out_that_would_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ir.Model] = []
    monkeypatch.setattr("itr_deploy.exporters.tracing.optimise", made.append)
    to_onnx(Mixed().eval(), [X, LENGTHS], [Y], 20)
    [model] = made
    every = model.clone()
    onnxscript.optimizer.optimize(
        every,
        input_size_limit=optimising.LARGEST_CONSTANT,
        output_size_limit=optimising.LARGEST_CONSTANT,
    )
    assert len(every.graph) < len(model.graph)
    optimise(model)
    assert form(model) == form(every)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_as_before_when_an_export_is_done(enabled: bool) -> None:
    @collected_later()
    def failing() -> None:
        assert not gc.isenabled()
        raise KeyError

    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(KeyError):
            failing()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_a_trace_that_fails_the_short_way_goes_the_long_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*given: Any, **named: Any) -> None:
        raise TypeError

    module = Mixed().eval()
    made = to_onnx(module, [X, LENGTHS], [Y], 20)
    monkeypatch.setattr(shortcuts, "_usual", failing)
    assert form(made) == form(to_onnx(module, [X, LENGTHS], [Y], 20))


def test_other_threads_are_left_alone() -> None:
    """A graph that is made in another one while something is exported can be run."""

    def other() -> Tensor:
        module = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))
        with FakeTensorMode() as mode:
            rows = mode.from_tensor(torch.ones(3, 4))
            assert (rows @ rows.t()).reshape(-1).shape == (9,)
        made: Tensor = module(torch.ones(3, 4))
        return made

    with ThreadPoolExecutor(1) as pool, shortcuts.quick_capture():
        assert pool.submit(other).result().shape == (3, 2)
