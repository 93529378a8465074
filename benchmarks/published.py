"""Bundles of every family at its published sizes, with random weights: all graphs, no scores."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import (
    WORDPIECES,
    random_camera,
    random_dime,
    random_imram,
    random_lhsc,
    random_scan,
    random_sgraf,
    random_vocabulary,
    random_vse_infty,
    random_vsrn,
)
from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.exporters.build import Source, build_bundle
from itr_deploy.exporters.reranker import RerankSettings, RerankSource, build_reranked
from itr_deploy.models.contract import TrainedMatcher, TrainedReranker
from itr_deploy.models.leaprr.config import LeaprrConfig
from itr_deploy.models.leaprr.network import Leaprr
from itr_deploy.models.registry import DEFAULT_OPSET, reranker_family


def _imram(mode: str) -> TrainedMatcher:
    return random_imram(argparse.Namespace(mode=mode, steps=3, precompute="full"))


def _dime(direction: str) -> TrainedMatcher:
    # Both directions have the same text encoder, and tracing twelve layers is a third of an export.
    bert = "base" if direction == "t2i" else "shallow"
    return random_dime(argparse.Namespace(direction=direction, bert=bert))


def _vse_infty(images: str, bert: str | None) -> TrainedMatcher:
    return random_vse_infty(argparse.Namespace(images=images, bert=bert))


MATCHERS: dict[str, tuple[str, Callable[[], TrainedMatcher]]] = {
    "imram-text": ("imram", lambda: _imram("text_IMRAM")),
    "imram-image": ("imram", lambda: _imram("image_IMRAM")),
    "imram-full": ("imram", lambda: _imram("full_IMRAM")),
    "dime-i2t": ("dime", lambda: _dime("i2t")),
    "dime-t2i": ("dime", lambda: _dime("t2i")),
    "lhsc": ("lhsc", lambda: random_lhsc(argparse.Namespace())),
    "sgraf-saf": ("sgraf", lambda: random_sgraf(argparse.Namespace(module="SAF"))),
    "sgraf-sgr": ("sgraf", lambda: random_sgraf(argparse.Namespace(module="SGR"))),
    "scan-t2i": ("scan", lambda: random_scan(argparse.Namespace(direction="t2i"))),
    "scan-i2t": ("scan", lambda: random_scan(argparse.Namespace(direction="i2t"))),
    "vsrn": ("vsrn", lambda: random_vsrn(argparse.Namespace())),
    "camera": ("camera", lambda: random_camera(argparse.Namespace(bert="base"))),
    "vse_infty-regions": ("vse_infty", lambda: _vse_infty("regions", "base")),
    "vse_infty-words": ("vse_infty", lambda: _vse_infty("regions", None)),
    "vse_infty-detector": ("vse_infty", lambda: _vse_infty("detector", None)),
    "vse_infty-resnext": ("vse_infty", lambda: _vse_infty("resnext", None)),
}
"""By name: the family, and the function that makes its model."""

RERANKED = "lhsc"
"""The matcher whose bundle also has LeaPRR's graphs."""


def published_bundle(name: str, precision: Precision, root: Path) -> Bundle:
    """Write the bundle of one of `MATCHERS` into an existing directory.

    Nothing is compared with PyTorch: at these sizes that takes minutes, and the golden cases
    already do it.
    """
    family, make = MATCHERS[name]
    checkpoint, trained = root / "checkpoint", make()
    write_file(checkpoint, "random weights")
    pieces = trained.vocab_size == WORDPIECES
    text = random_vocabulary(family, root, trained.vocab_size, pieces=pieces)
    place = root / f"{name}-{precision}"
    place.mkdir()
    source = Source(family, checkpoint, trained, text)
    build_bundle(source, place, opset=DEFAULT_OPSET, precision=precision)
    if name != RERANKED:
        return read_bundle(place)
    together = root / f"{name}-leaprr-{precision}"
    together.mkdir()
    build_reranked(read_bundle(place), _leaprr(checkpoint), together)
    return read_bundle(together)


def _leaprr(checkpoint: Path) -> RerankSource:
    family, config = reranker_family("leaprr"), LeaprrConfig()
    networks = [Leaprr(config).eval() for _ in range(2)]
    trained = TrainedReranker(*networks, heads=config.heads)
    return RerankSource(family, checkpoint, trained, RerankSettings(rows=family.rows))
