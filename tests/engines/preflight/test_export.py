"""An export runs the rules over every graph it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from itr_deploy.engines.preflight import RULES, GraphView, Target
from itr_deploy.engines.preflight.rules import Problem
from itr_deploy.exporters.build import Source, build_bundle
from itr_deploy.exporters.text import nltk_words
from itr_deploy.models.imram.checkpoint import load
from tests.support.golden import TEXT


def no_products(graph: GraphView, target: Target) -> Iterator[Problem]:
    for node in graph.nodes:
        if node.op_type in ("MatMul", "Gemm"):
            yield node, "a product", "add up instead"


@pytest.mark.slow
def test_findings_are_warnings_of_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "no-products", no_products)
    trained = load(TEXT.checkpoint)
    text = nltk_words(TEXT.vocab, trained.vocab_size)
    source = Source("imram", TEXT.checkpoint, trained, text)
    said: list[str] = []
    build_bundle(source, tmp_path, opset=20, progress=said.append)
    warned = [line for line in said if line.startswith("warning, TensorRT: ")]
    assert {line.split(": ")[1] for line in warned} >= {"image_encoder", "text_encoder"}
    assert all(line.endswith("a product; add up instead [no-products]") for line in warned)
