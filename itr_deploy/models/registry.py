"""The families this SDK deploys: one line each, and no PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any

from itr_deploy.bundle.published import PROTOCOLS, EvaluationProtocol, Published
from itr_deploy.models.family import Family, RerankerFamily

__all__ = [
    "DEFAULT_OPSET",
    "FAMILIES",
    "OPSETS",
    "RERANKERS",
    "Family",
    "RerankerFamily",
    "family",
    "published",
    "reranker_family",
]

OPSETS = range(18, 23)
"""ONNX operator sets that an export can have."""
DEFAULT_OPSET = 20
"""Opset 23 has an Attention operator that TensorRT does not build; 20 works everywhere."""


def _registered(package: str) -> Any:
    """What a package of this directory registers."""
    return import_module(f"itr_deploy.models.{package}").FAMILY


FAMILIES: tuple[Family, ...] = (
    _registered("imram"),
    _registered("lhsc"),
    _registered("dime"),
    _registered("sgraf"),
    _registered("vsrn"),
    _registered("vse_infty"),
    _registered("camera"),
    _registered("scan"),  # last: what marks its checkpoints, those of later models have too
)

RERANKERS: tuple[RerankerFamily, ...] = (
    _registered("leaprr"),
)  # fmt: skip


def family(name: str) -> Family:
    """The family registered as ``name``.

    Raises:
        KeyError: No family or re-ranker has this name.
    """
    return {entry.name: entry for entry in FAMILIES}[name]


def reranker_family(name: str) -> RerankerFamily:
    """The re-ranker registered as ``name``.

    Raises:
        KeyError: No family or re-ranker has this name.
    """
    return {entry.name: entry for entry in RERANKERS}[name]


def published(
    names: Iterable[str], protocols: Collection[EvaluationProtocol] = PROTOCOLS
) -> tuple[Published, ...]:
    """Figures from the papers of these families and re-rankers, on some of the test sets.

    Names that are not registered are skipped.
    """
    own = {entry.name: entry.published for entry in FAMILIES}
    own |= {entry.name: entry.published for entry in RERANKERS}
    rows = (row for name in sorted(names) for row in own.get(name, ()))
    return tuple(row for row in rows if row.protocol in protocols)
