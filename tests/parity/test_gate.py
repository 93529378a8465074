from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
import torch

from itr_deploy import Matcher
from itr_deploy.bundle.modality import PREFILTERS
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.parity.gate import verify
from itr_deploy.runtime.pair_scorer import PairScorer
from tests.support.golden import FULL
from tests.support.threads import one_torch_thread


def test_the_gate_scores_with_what_a_search_scores_with(bundle: Path) -> None:
    """A matcher put together wrongly is missed, though each of its graphs is right."""
    matcher = Matcher.load(bundle)
    matcher.scorer = PairScorer(matcher.backend, matcher.bundle.manifest, 1 << 20, PREFILTERS)
    with one_torch_thread():
        report = verify(load(FULL.checkpoint), matcher)
    missed = {entry.name for entry in report.outputs if not entry.passed}
    assert missed == {
        f"match_{way}, {storage}"
        for way in ("text_to_image", "image_to_text")
        for storage in ("float16", "float32", "int8", "uint8")  # as prefilters have them
    }
    assert not all(entry.passed for entry in report.ranks)


class Collapsed:
    """A published model that gives every pair the same score."""

    def score(self, *tensors: torch.Tensor) -> torch.Tensor:
        return torch.full((len(tensors[0]), len(tensors[1])), 0.25)


def test_a_model_that_tells_no_items_apart_is_told(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained, matcher = load(FULL.checkpoint), Matcher.load(bundle)
    with one_torch_thread(), caplog.at_level(logging.WARNING, "itr_deploy"):
        assert verify(trained, matcher).passed
        assert "score alike" not in caplog.text
        verify(dataclasses.replace(trained, plain=Collapsed()), matcher)
    (line,) = [line for line in caplog.messages if "score alike" in line]
    assert line.startswith("all images and captions score alike")
