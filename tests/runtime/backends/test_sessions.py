from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from itr_deploy.diagnosis.machine import DOUBLING
from itr_deploy.runtime.backends.sessions import open_session
from itr_deploy.runtime.matcher import Matcher


@pytest.mark.parametrize("options", [None, onnxruntime.SessionOptions()])
@pytest.mark.parametrize("content", [True, False])
def test_every_session_asks_for_exact_int8_products(
    options: onnxruntime.SessionOptions | None, content: bool, bundle: Path
) -> None:
    """Seen in its options alone: CPUs that would show a difference are rare."""
    graph = bundle / "graphs" / "image_encoder.onnx"
    session = open_session(DOUBLING if content else graph, options)
    assert _asked(session) == "1"


def test_a_bundles_graphs_ask_for_it_too(matcher: Matcher) -> None:
    matcher.backend.load("image_encoder")  # type: ignore[attr-defined]
    assert _asked(matcher.backend._session("image_encoder")) == "1"  # type: ignore[attr-defined]


def _asked(session: onnxruntime.InferenceSession) -> str:
    options = session.get_session_options()
    return str(options.get_session_config_entry("session.x64quantprecision"))
