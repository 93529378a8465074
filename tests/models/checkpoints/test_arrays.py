"""Weights as arrays of numpy, in PyTorch's files and in plain pickles: nothing in them runs."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import load_checkpoint
from itr_deploy.models.checkpoints.plain_types import Array, Dtype

WEIGHTS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.bias": np.array([0.5, -1.5], np.float64),
    "by_column": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "half": np.array([1.5], np.float16),
}


def read(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path, expected=("model",), arrays=True)["model"]


def check(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


@pytest.mark.parametrize("whole", [WEIGHTS, {"model": WEIGHTS, "__author__": "Caffe"}])
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorchs_containers_may_hold_arrays(whole: Any, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    check(read(path))


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("whole", [WEIGHTS, {"model": OrderedDict(WEIGHTS), "step": np.int64(3)}])
def test_plain_pickles_of_every_protocol_are_read(
    whole: Any, protocol: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(whole, protocol))
    check(read(path))


def test_a_pickle_of_protocol_0_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": {"a": "text"}}, 0))
    assert read(path) == {"a": "text"}


def test_a_pickle_of_python_2_and_numpy_1_is_read(tmp_path: Path) -> None:
    """Its bytes and its keys are texts of one byte a letter."""
    raw = np.array([1.0, 2.0], np.float32).tobytes()
    path = tmp_path / "model.pkl"
    path.write_bytes(
        b"\x80\x02}U\x05model}U\x01a"
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + raw + b"tbss."
    )
    assert read(path)["a"].tolist() == [1.0, 2.0]


class Runs:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return print, ("run",)


@pytest.mark.parametrize(
    "content",
    [
        {"model": Runs()},
        {"model": {"a": np.array([Runs()], object)}},
        {"model": {"a": np.random.default_rng}},
    ],
)
def test_nothing_that_a_pickle_names_runs(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="refused: it holds more than tensors") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": {"a": np.array(["x", None], object)}}))
    with pytest.raises(CheckpointError, match="'a' is an array of something else"):
        read(path)


@pytest.mark.parametrize(
    ("shape", "code", "data"),
    [
        ((2,), "f4", b"\0" * 4),
        ((1 << 40, 1 << 40), "f4", b""),
        ((-1,), "f4", b"\0" * 4),
        ("x", "f4", b""),
        ((1,) * 9, "f4", b"\0" * 4),
        ((1,), "O8", b"\0" * 8),
        ((1,), "f4", None),
    ],
)
def test_an_array_that_contradicts_itself_is_refused(shape: Any, code: str, data: Any) -> None:
    with pytest.raises(ValueError, match="an array of"):
        Array(shape, Dtype(code), data).tensor()


def test_a_cut_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": WEIGHTS})[:-20])
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_other_families_take_neither_pickles_nor_arrays(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": WEIGHTS}))
    with pytest.raises(CheckpointError, match="a Python pickle"):
        load_checkpoint(path, expected=("model",))
