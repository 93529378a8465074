from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from itr_deploy.bundle.store import read_bundle
from tests.support.engine_records import directory_of


@pytest.fixture
def with_plans() -> Callable[..., Path]:
    """Gives a bundle a TensorRT engine of its image encoder, for 8.0 and 8.6."""

    def give(bundle: Path, **differing: object) -> Path:
        return directory_of(read_bundle(bundle), **{"target": "tensorrt", **differing}).path

    return give
