"""LeaPRR over the published bases besides IMRAM and DIME: it searches and evaluates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from tests.support.command import itr_deploy as command
from tests.support.duals import VSE, VSRN, export_words
from tests.support.exports import Bundles
from tests.support.leaprr import SMALL
from tests.support.scan import LSE

IMAGES, PER_IMAGE = 14, 5
BASES: dict[str, Callable[[Bundles], Path]] = {
    "scan": lambda bundles: bundles.path(LSE),
    "vsrn": lambda bundles: bundles.of(*export_words(VSRN[0])),
    "vse_infty": lambda bundles: bundles.of(*export_words(VSE[0])),
}


@pytest.mark.full
@pytest.mark.parametrize("base", BASES)
def test_it_searches_and_evaluates(base: str, bundles: Bundles, tmp_path: Path) -> None:
    made = itr_deploy.export_reranker(
        "leaprr",
        base=BASES[base](bundles),
        checkpoint=SMALL.checkpoint,
        output=tmp_path / "bundle",
        heads=SMALL.heads,
        rows_text_to_image=SMALL.rows("text"),
        rows_image_to_text=SMALL.rows("image"),
    ).path
    items, data = RandomItems(Matcher.load(made)), tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", items.images(IMAGES))
    captions = items.captions(IMAGES * PER_IMAGE)
    (data / "test_caps.txt").write_text("\n".join(captions) + "\n")
    for modality in ("image", "text"):
        itr_deploy.index(made, data=data, output=tmp_path / modality, modality=modality)
    images, texts = str(tmp_path / "image"), str(tmp_path / "text")
    given = (captions[0], "--gallery", images, "--bank", texts, "--rerank", "--json")
    found = command("search", made, *given)
    assert found.code == 0, found.err
    hits = Retriever.load(made, images, bank=texts).search(captions[0], rerank=True)
    assert [hit["id"] for hit in found.json[0]["hits"]] == list(hits.ids)
    assert [hit["matcher_rank"] for hit in found.json[0]["hits"]] != list(range(1, 11))
    report = tmp_path / "evaluation"
    evaluated = command("evaluate", made, "--data", data, "--output", report, "--rerank", "--json")
    assert evaluated.code == 0, evaluated.err
    stages = {stage["name"]: stage["recall"] for stage in evaluated.json["stages"]}
    assert evaluated.json["recall"] == stages["re-ranked, both directions merged"]
    assert len(stages) > 2
