"""A small bundle of every family: the registered ones and the toys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from itr_deploy import cascade, export
from itr_deploy.models.family import Family
from tests.families import toys
from tests.families.toys import (
    DUAL,
    OTHER_WORDS,
    VECTORS,
    VIEWS,
    WORDS,
    WORDS_ONLY,
    write_checkpoint,
    write_vocabulary,
)
from tests.support.cases import GoldenCase
from tests.support.dime import GATES, I2T, T2I, DimeCase
from tests.support.duals import CAMERA, GRID, VSE, VSRN, export_words
from tests.support.exports import Bundles
from tests.support.golden import FULL
from tests.support.lhsc import LHSC
from tests.support.scan import LSE
from tests.support.sgraf import SGR
from tests.support.threads import one_torch_thread


@dataclass(frozen=True)
class FamilyCase:
    """A family, and its bundle with the checkpoint it was made from."""

    name: str
    family: str
    bundle: Callable[[Bundles], tuple[Path, Path]]
    full: bool = False
    """Whether it is tried before a release alone: another form of the family is always tried."""


def _dime(case: DimeCase, bundles: Bundles) -> tuple[Path, Path]:
    return bundles.path(case, *GATES), case.checkpoint


def _lhsc(padding: str, bundles: Bundles) -> tuple[Path, Path]:
    return bundles.path(LHSC, "--text-padding", padding), LHSC.checkpoint


def _dual(case: GoldenCase, bundles: Bundles) -> tuple[Path, Path]:
    return bundles.of(*export_words(case)), case.checkpoint


def _toy(family: Family, bundles: Bundles) -> tuple[Path, Path]:
    bundle = bundles.once(
        family.name, partial(_export_toy, family), Path(toys.__file__), Path(__file__)
    )
    return bundle, bundle.with_suffix(".pth")


def toy_cascade(bundles: Bundles) -> tuple[Path, Path, Path, Path]:
    """A cascade, its dual encoder's and its matcher's bundle, and the matcher's checkpoint.

    The dual encoder has other weights than the other toys, and knows other words.
    """
    sources = Path(toys.__file__), Path(__file__)
    matcher, checkpoint = _toy(WORDS_ONLY, bundles)
    given = {"words": OTHER_WORDS, "seed": 1}
    front = bundles.once("toy_front", partial(_export_toy, DUAL, **given), *sources)
    both = bundles.once("toy_cascade", partial(_join, front, matcher), *sources)
    return both, front, matcher, checkpoint


def _join(front: Path, matcher: Path, output: Path) -> None:
    cascade(front, matcher, output=output)


def _cascade(bundles: Bundles) -> tuple[Path, Path]:
    both, _, _, checkpoint = toy_cascade(bundles)
    return both, checkpoint


def _export_toy(family: Family, output: Path, words: Sequence[str] = WORDS, seed: int = 0) -> None:
    """As the command line exports a registered family."""
    vocabulary = write_vocabulary(output.with_suffix(".vocab.json"), words)
    checkpoint = write_checkpoint(output.with_suffix(".pth"), seed)
    with one_torch_thread():
        export(family.name, checkpoint=checkpoint, vocab=vocabulary, output=output)


CASES = (
    FamilyCase("vectors", "toy_vectors", partial(_toy, VECTORS)),
    FamilyCase("words", "toy_words", partial(_toy, WORDS_ONLY)),
    FamilyCase("dual encoder", "toy_dual", partial(_toy, DUAL)),
    FamilyCase("dual encoder with views", "toy_views", partial(_toy, VIEWS)),
    FamilyCase("a matcher behind a dual encoder", "toy_words", _cascade),
    FamilyCase("vsrn", "vsrn", partial(_dual, VSRN[0])),
    FamilyCase("vsrn, order", "vsrn", partial(_dual, VSRN[2]), full=True),
    FamilyCase("vse_infty, words", "vse_infty", partial(_dual, VSE[0])),
    FamilyCase("vse_infty, BERT", "vse_infty", partial(_dual, VSE[1]), full=True),
    FamilyCase("vse_infty, pictures", "vse_infty", partial(_dual, GRID)),
    FamilyCase("camera", "camera", partial(_dual, CAMERA[0])),
    FamilyCase("imram", "imram", lambda bundles: (bundles.path(FULL), FULL.checkpoint)),
    FamilyCase("lhsc", "lhsc", partial(_lhsc, "true-length")),
    FamilyCase("lhsc, published padding", "lhsc", partial(_lhsc, "published"), full=True),
    FamilyCase("dime, image to text", "dime", partial(_dime, I2T), full=True),
    FamilyCase("dime, text to image", "dime", partial(_dime, T2I)),
    FamilyCase("sgraf, SGR", "sgraf", lambda bundles: (bundles.path(SGR), SGR.checkpoint)),
    FamilyCase("scan", "scan", lambda bundles: (bundles.path(LSE), LSE.checkpoint)),
)
QUICK = ("toy_vectors", "toy_words", "toy_dual", "toy_views", "imram")
"""Families whose exports take seconds."""


def tier(case: FamilyCase) -> list[pytest.MarkDecorator]:
    """When a case is tried: always, in continuous integration, or before a release."""
    if case.full:
        return [pytest.mark.full]
    return [] if case.family in QUICK else [pytest.mark.slow]
