from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from itr_deploy.exporters.weights import ALIGNMENT, INLINE_BYTES, WeightsFile


def model_with(**arrays: np.ndarray) -> ir.Model:
    values = [
        ir.Value(name=name, const_value=ir.tensor(array, name=name))
        for name, array in arrays.items()
    ]
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": 20})
    return ir.Model(graph, ir_version=9)


def initializers(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    return {name: value.const_value for name, value in model.graph.initializers.items()}


def test_large_weights_go_to_the_file_and_read_back_equal(tmp_path: Path) -> None:
    big = np.arange(2000, dtype=np.float32).reshape(40, 50)
    whole, half = np.arange(600), big[:30].astype(np.float16)
    model = model_with(big=big, whole=whole, half=half)
    with WeightsFile(tmp_path / "weights.bin") as weights:
        weights.take(model)
    for name, array in {"big": big, "whole": whole, "half": half}.items():
        tensor = initializers(model)[name]
        assert isinstance(tensor, ir.ExternalTensor)
        assert tensor.offset % ALIGNMENT == 0
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype


def test_small_constants_stay_in_the_graph(tmp_path: Path) -> None:
    model = model_with(small=np.zeros(INLINE_BYTES // 4, np.float32))
    with WeightsFile(tmp_path / "weights.bin") as weights:
        weights.take(model)
    assert not isinstance(initializers(model)["small"], ir.ExternalTensor)
    assert (tmp_path / "weights.bin").stat().st_size == 0


def test_a_weight_of_several_graphs_is_stored_once(tmp_path: Path) -> None:
    shared = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    first, second = model_with(a=shared), model_with(b=shared.copy(), c=shared.reshape(30, 20))
    with WeightsFile(tmp_path / "weights.bin") as weights:
        weights.take(first)
        weights.take(second)
    assert (tmp_path / "weights.bin").stat().st_size == shared.nbytes
    np.testing.assert_array_equal(initializers(second)["b"].numpy(), shared)
    np.testing.assert_array_equal(initializers(second)["c"].numpy(), shared.reshape(30, 20))
