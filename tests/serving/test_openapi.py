"""The service keeps to its OpenAPI document, whatever is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.conftest import Served
from tests.support.servers import Running, running_server

CONFIG = Path(__file__).with_name("schemathesis.toml")
KEY = "a-key-that-may-do-everything"


@pytest.fixture(scope="module")
def with_keys(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with all routes, for those who have a key."""
    root = tmp_path_factory.mktemp("keys")
    (root / "keys").write_text(KEY)
    keys = "--api-key-file", root / "keys", "--admin-key-file", root / "keys"
    options = *keys, "--pictures", served.pictures, "--refresh", 0
    with running_server(served.bundle, served.gallery, root / "log", *options) as running:
        yield running
        assert running.end() == 0, running.said
        assert "Traceback" not in running.said


@pytest.mark.parametrize(
    "examples",
    [pytest.param(3, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.full)],
)
def test_nothing_is_found(with_keys: Running, examples: int, tmp_path: Path):
    pytest.importorskip("schemathesis")
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    words = ["--config-file", CONFIG, "run", f"{with_keys.url}/openapi.json", "--checks", "all"]
    words += ["--max-examples", examples, "--seed", 1, "--no-shrink", "--continue-on-failure"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env={**os.environ, "SERVICE_KEY": KEY},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
