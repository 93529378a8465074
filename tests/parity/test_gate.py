from __future__ import annotations

from pathlib import Path

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
        for storage in ("float16", "float32", "int8")
    }
    assert not all(entry.passed for entry in report.ranks)
