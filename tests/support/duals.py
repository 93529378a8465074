"""The golden cases of the dual encoders, and how they are exported."""

from __future__ import annotations

from tests.support.cases import GoldenCase

VSRN = [GoldenCase(f"vsrn/{name}") for name in ("coco", "f30k", "f30k_order_abs")]
VSE = [GoldenCase(f"vse_infty/{n}") for n in ("region_bigru", "region_bert", "region_bert_ragged")]
CAMERA = [GoldenCase(f"camera/{name}") for name in ("k12", "k3_r20")]
GRID = GoldenCase("vse_infty/grid_detector_bert")
PICTURES = sorted((GRID.folder / "pictures").iterdir())
"""Of various sizes, and of what kinds PNG files have."""
CASES = [*VSRN, *VSE, *CAMERA, GRID]
FULL = [VSRN[1], VSRN[2], VSE[1], CAMERA[1]]
"""Those that are exported before a release alone; another of their family always is."""


def export_words(case: GoldenCase) -> tuple[object, ...]:
    """The family and its files, as ``itr-deploy export`` takes them."""
    vocab = next(
        path
        for name in ("vocab.pkl", "vocab.json", "vocab.txt")
        if (path := case.folder / name).exists()
    )
    given = (case.folder.parent.name, "--checkpoint", case.checkpoint, "--vocab", vocab)
    config = case.folder / "bert_config.json"
    return (*given, "--bert-config", config) if config.exists() else given
