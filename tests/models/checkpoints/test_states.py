"""Checkpoints as other people's training leaves them score as the original does."""

from __future__ import annotations

import argparse
import pathlib
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itr_deploy.models.checkpoints import load_checkpoint, load_weights
from itr_deploy.models.registry import family, reranker_family
from tests.models.checkpoints.test_reading import refusal
from tests.support.dime import I2T
from tests.support.golden import FULL
from tests.support.imram import golden_checkpoint
from tests.support.leaprr import SMALL
from tests.support.lhsc import LHSC
from tests.support.scan import NO_NORMS
from tests.support.sgraf import SAF

State = Mapping[str, Tensor]
FILES = {
    "imram": FULL.checkpoint,
    "lhsc": LHSC.checkpoint,
    "dime": I2T.checkpoint,
    "sgraf": SAF.checkpoint,
    "scan": NO_NORMS.checkpoint,
}


def original(name: str) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(FILES[name], map_location="cpu", weights_only=True)


def each(model: Any, change: Callable[[State], State]) -> Any:
    """A checkpoint's state dict, or each of its list, changed."""
    return [change(state) for state in model] if isinstance(model, list) else change(model)


def plain(state: State) -> State:
    return {key.removeprefix("module."): value for key, value in state.items()}


def parallel(state: State) -> State:
    return OrderedDict((f"module.{key}", value) for key, value in plain(state).items())


def compiled(state: State) -> State:
    return {f"_orig_mod.module.{key}": value for key, value in plain(state).items()}


def parallel_parts(state: State) -> State:
    return {key.replace(".", ".module.", 1): value for key, value in plain(state).items()}


def without_counters(state: State) -> State:
    return {key: value for key, value in state.items() if "num_batches" not in key}


def doubles(state: State) -> State:
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def strided(state: State) -> State:
    """The same values, transposed in memory."""
    return {
        key: value.T.contiguous().T if value.ndim == 2 else value for key, value in state.items()
    }


CHANGES = [plain, parallel, compiled, parallel_parts, without_counters, doubles, strided]


def assert_same_model(name: str, path: Path) -> None:
    entry = family(name)
    files = {"bert_config": I2T.bert_config} if name == "dime" else {}
    chosen = entry.options.checked(name, files)
    got, expected = entry.load(path, chosen), entry.load(FILES[name], chosen)
    assert got.options == expected.options
    wanted = expected.plain.state_dict()
    found = got.plain.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if "num_batches" not in key:
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_what_wrapped_the_model_is_taken_off(
    name: str, change: Callable[[State], State], tmp_path: Path
) -> None:
    content = original(name)
    path = tmp_path / "other.tar"
    torch.save({**content, "model": each(content["model"], change)}, path)
    assert_same_model(name, path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "change",
    [
        {"margin": np.float32(0.2), "epoch": np.int64(3), "flag": np.bool_(True)},
        {"logger_name": pathlib.PurePosixPath("runs/x"), "data": pathlib.Path("data")},
        {"data": pathlib.PureWindowsPath("D:/data")},
        {"rsums": np.arange(3.0), "names": np.array(["a", "b"])},
        {"device": torch.device("cpu"), "dtype": torch.float16},
        {"nested": types.SimpleNamespace(a=1)},
    ],
)
def test_harmless_values_do_not_stop_an_export(
    name: str, change: dict[str, Any], tmp_path: Path
) -> None:
    content = original(name)
    opt = argparse.Namespace(**{**vars(content["opt"]), **change})
    path = tmp_path / "other.tar"
    torch.save({**content, "opt": opt, "best_rsum": np.float64(480.3)}, path)
    assert_same_model(name, path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("weights", ["model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("options", ["opt", "args"])
def test_the_parts_may_have_their_other_usual_names(
    name: str, weights: str, options: str, tmp_path: Path
) -> None:
    content = original(name)
    path = tmp_path / "other.tar"
    torch.save({weights: content["model"], options: vars(content["opt"])}, path)
    assert_same_model(name, path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_of_numpy_that_a_score_depends_on_are_read_as_they_are(
    protocol: int, tmp_path: Path
) -> None:
    content = original("imram")
    vars(content["opt"]).update(
        embed_size=np.int64(content["opt"].embed_size),
        lambda_softmax=np.dtype(">f8").type(content["opt"].lambda_softmax),
        no_imgnorm=np.bool_(content["opt"].no_imgnorm),
    )
    path = tmp_path / "other.tar"
    torch.save(content, path, pickle_protocol=protocol)
    if protocol == 2:
        assert_same_model("imram", path)
    else:  # PyTorch's safe reading takes protocol 2 alone, in any version
        refusal(path)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f8", "i1", "i4", ">i8", "u2", "u8", "?"])
def test_a_number_of_numpy_becomes_the_same_number(kind: str, tmp_path: Path) -> None:
    value = np.array([77.25]).astype(kind)[0]
    path = tmp_path / "number.tar"
    torch.save({"model": {}, "value": value}, path)
    found = load_checkpoint(path, expected=("model",))["value"]
    assert found == value
    assert type(found) in (bool, int, float)


def test_a_bare_state_dict_is_named_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "bare.tar"
    torch.save(golden_checkpoint()["model"], path)
    message = refusal(path)
    assert "a bare state dict of" in message
    assert "'opt'" in message
    assert "torch.save({'model': model.state_dict()" in message


def test_a_bare_state_dict_is_taken_where_nothing_else_is_needed(tmp_path: Path) -> None:
    entry, path = reranker_family("leaprr"), tmp_path / "bare.pth"
    state = torch.load(SMALL.checkpoint, weights_only=True)["state_dict"]
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    heads = SMALL.heads
    got, expected = entry.load(path, heads), entry.load(SMALL.checkpoint, heads)
    for key, value in expected.text_to_image.state_dict().items():
        torch.testing.assert_close(got.text_to_image.state_dict()[key], value, rtol=0, atol=0)


def test_a_weight_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"]["gate_t2i.bias"] = content["model"]["module.gate_t2i.bias"] + 1
    path = tmp_path / "twice.tar"
    torch.save(content, path)
    assert "gate_t2i.bias is there twice" in refusal(path)


def test_a_family_may_have_a_module_of_the_name_of_a_wrapper(tmp_path: Path) -> None:
    inner = torch.nn.Module()
    inner.module = torch.nn.Linear(2, 3)
    path = tmp_path / "own.tar"
    torch.save({"model": inner.state_dict()}, path)
    state = load_checkpoint(path, expected=("model",))["model"]
    other = torch.nn.Module()
    other.module = torch.nn.Linear(2, 3)
    load_weights(other, state, source=path, family="own")
    torch.testing.assert_close(other.module.weight, inner.module.weight, rtol=0, atol=0)
