"""What the registered families declare about themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from itr_deploy.bundle.published import COCO_5K
from itr_deploy.models.checkpoints import another_model
from itr_deploy.models.family import Family, RerankerFamily
from itr_deploy.models.registry import FAMILIES, RERANKERS, family, published, reranker_family

DATA = Path(__file__).parents[1] / "data"
EVERY = pytest.mark.parametrize("entry", FAMILIES, ids=lambda entry: entry.name)


def test_a_family_is_found_by_its_name() -> None:
    assert [family(entry.name) for entry in FAMILIES] == list(FAMILIES)
    assert [reranker_family(entry.name) for entry in RERANKERS] == list(RERANKERS)
    with pytest.raises(KeyError):
        family("other")


@EVERY
def test_every_option_is_documented_and_has_a_default(entry: Family) -> None:
    assert entry.options()
    for field in entry.options.model_fields.values():
        assert (field.description or "").endswith(".")
        assert not field.is_required()


@EVERY
def test_a_checkpoint_is_told_by_its_familys_mark(entry: Family) -> None:
    golden = next((DATA / entry.name).glob("*/model_best.pth.tar"))
    with torch.serialization.safe_globals([argparse.Namespace]):
        model = torch.load(golden, map_location="cpu", weights_only=True)["model"]
    assert another_model(model).endswith(f"itr-deploy export {entry.name}")


def test_a_family_without_published_figures_has_none() -> None:
    assert published({"lhsc", "ensemble"}) == ()


def test_the_papers_rows_come_in_the_order_of_the_names() -> None:
    rows = published({"leaprr", "ensemble", "dime", "imram"})
    assert [row.model.split()[0] for row in rows] == ["DIME,", "Full-IMRAM", "LeaPRR", "LeaPRR"]


def test_rows_on_other_test_sets_are_left_out() -> None:
    rows = published({"leaprr", "imram", "vsrn"}, [COCO_5K])
    assert [row.model for row in rows] == ["LeaPRR on VSE∞", "VSRN, two models"]


@pytest.mark.parametrize("entry", [*FAMILIES, *RERANKERS], ids=lambda entry: entry.name)
def test_rsums_are_the_sums_of_what_the_papers_give(entry: Family | RerankerFamily) -> None:
    for row in entry.published:
        if row.image_to_text and row.text_to_image:
            assert row.rsum == pytest.approx(sum(row.image_to_text) + sum(row.text_to_image))
