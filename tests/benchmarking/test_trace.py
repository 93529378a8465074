from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from itr_deploy.benchmarking.trace import check_traceable, operators
from itr_deploy.errors import UsageError


def event(name: str, operator: str, microseconds: float, cat: str = "Node") -> dict[str, Any]:
    return {"cat": cat, "name": name, "dur": microseconds, "args": {"op_name": operator}}


def test_operators_are_summed_by_type_the_slowest_first() -> None:
    rows = operators(
        [
            event("a_kernel_time", "Add", 1000),
            event("b_kernel_time", "MatMul", 2000),
            event("b_kernel_time", "MatMul", 4000),
            event("b_fence_before", "MatMul", 9000),
            {"cat": "Session", "name": "model_run", "dur": 9000, "args": {}},
        ]
    )
    assert [row.model_dump() for row in rows] == [
        {"operator": "MatMul", "calls": 2, "milliseconds": 6.0, "share": pytest.approx(6 / 7)},
        {"operator": "Add", "calls": 1, "milliseconds": 1.0, "share": pytest.approx(1 / 7)},
    ]


def test_a_profile_without_kernels_has_no_operators() -> None:
    assert operators([]) == ()


def test_engines_have_no_profile_of_onnx_runtime() -> None:
    backend: Any = SimpleNamespace(description="TensorRT 10.3")
    with pytest.raises(
        UsageError, match=r"would run on TensorRT 10\.3; give backend='onnxruntime'"
    ):
        check_traceable(backend)
