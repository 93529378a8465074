from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from itr_deploy.serving.answers import json_response, numbers_response

NUMBERS = np.random.default_rng(0).standard_normal(100, np.float32).astype(np.float64).tolist()


@pytest.mark.parametrize(
    "value",
    [
        {"data": NUMBERS, "model": "bundle", "usage": {"total_tokens": 3}},
        {"data": [1e22, 1e-45, -0.0, float("nan"), float("inf")]},
        {"model": "a name \udc80 of bytes", "data": [0.5]},
    ],
)
def test_numbers_are_told_as_all_else_is(value: dict[str, Any]) -> None:
    fast, usual = numbers_response(value), json_response(value)
    assert json.loads(fast.body) == json.loads(usual.body)
    assert fast.headers["content-type"] == usual.headers["content-type"]
