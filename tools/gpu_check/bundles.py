"""The bundles of a pack: golden cases, and models of published sizes whose weights pack well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.detectors import CAFFE_SETTINGS, published_detector, published_network
from benchmarks.models import EMBED_DIM, IMAGE_DIM, VOCAB, WORD_DIM, random_vocabulary
from itr_deploy import Detector
from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import Precision
from itr_deploy.exporters.build import Source, build_bundle
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.plain import Imram
from itr_deploy.models.registry import DEFAULT_OPSET
from itr_deploy.parity.scene import made_scene
from tests.support import dime, duals, golden, lhsc, region_cases, scan, sgraf
from tools.gpu_check.parts import PackError
from tools.gpu_check.place import RUN
from tools.gpu_check.steps import HALF_CASE

FILES = ("inputs.npz", "expected.npz")
SMALL = 64
"""Widths of the models of a dry run."""


@dataclass(frozen=True)
class GoldenCase:
    """A golden case: its name, its folder below ``tests/data``, and how it is exported."""

    name: str
    folder: Path
    words: tuple[object, ...]
    is_detector: bool = False


def golden_cases() -> Iterator[GoldenCase]:
    """Every golden case of a matcher or a detector, and one in half precision."""
    matchers: list[Any] = [*golden.CASES, *dime.DIRECTIONS, *scan.CASES, *sgraf.MODULES]
    given = [(case.folder, case.export_words) for case in matchers]
    given.append((lhsc.FOLDER, (*lhsc.LHSC.export_words, "--text-padding", "true-length")))
    given += [(case.folder, duals.export_words(case)) for case in duals.CASES]
    for folder, words in given:
        yield GoldenCase(f"{words[0]}-{folder.name}", folder, words)
    text = golden.TEXT
    yield GoldenCase(HALF_CASE, text.folder, (*text.export_words, "--dtype", "float16"))
    for case in region_cases.REGION_CASES:
        yield GoldenCase(f"regions-{case.name}", case.folder, case.export_words, is_detector=True)


def is_small(case: GoldenCase) -> bool:
    """Whether it is part of a dry run too."""
    return case.name in ("imram-full_3step", HALF_CASE, "regions-bua_caffe")


def exporter(folder: Path) -> Callable[[Sequence[object]], Path]:
    """Exports into a folder, as a user would."""

    def run(words: Sequence[object]) -> Path:
        output = folder / f"{len(list(folder.iterdir()))}"
        command = [sys.executable, "-c", RUN, "export", *map(str, words), "--output", str(output)]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise PackError(f"export {words[0]} fails: {done.stderr.strip().splitlines()[-1]}")
        return output

    return run


def write_golden(case: GoldenCase, bundle: Path, place: Path) -> None:
    """Write a case as `measures.golden` reads it."""
    place.mkdir(parents=True)
    shutil.copytree(bundle, place / "bundle", ignore=shutil.ignore_patterns("engines"))
    pictures = case.folder / "pictures"
    if case.is_detector:
        (place / "pictures").mkdir()
        for picture in sorted(case.folder.glob("*.png")):
            shutil.copy(picture, place / "pictures")
        _write_regions(place)
        return
    for name in FILES:
        shutil.copy(case.folder / name, place)
    if pictures.is_dir():
        shutil.copytree(pictures, place / "pictures")


def _write_regions(place: Path) -> None:
    found = Detector.load(place / "bundle").detect(sorted((place / "pictures").iterdir()))
    arrays: dict[str, NDArray[np.float32]] = {}
    for number, one in enumerate(found):
        arrays |= {f"boxes_{number}": one.boxes, f"features_{number}": one.features}
    np.savez(place / "regions.npz", **arrays)  # type: ignore[arg-type]  # see numpy's stubs


def write_models(place: Path, *, small: bool) -> None:
    """Write IMRAM, text mode, three steps: float32 and float16, and storing only embeddings."""
    place.mkdir(parents=True)
    widths = (SMALL,) * 3 if small else (IMAGE_DIM, EMBED_DIM, WORD_DIM)
    config = ImramConfig(*widths, vocab_size=VOCAB, mode="text_IMRAM", steps=3)
    torch.manual_seed(0)
    model = Imram(config).eval()
    few_values(model)
    forms: tuple[tuple[str, Precision], ...] = (
        ("full", "float32"),
        ("full", "float16"),
        ("none", "float32"),
    )
    checkpoint = place / "checkpoint"
    write_file(checkpoint, "random weights")
    text = random_vocabulary("imram", place)
    for precompute, precision in forms:
        deployed = ImramDeployment(model, precompute).eval()
        options = {**vars(config), "precompute": precompute}
        trained = TrainedMatcher(model, deployed, config.image_dim, VOCAB, options)
        root = place / f"imram-{precompute}-{precision}"
        root.mkdir()
        source = Source("imram", checkpoint, trained, text)
        build_bundle(source, root, opset=DEFAULT_OPSET, precision=precision)


def write_detector(place: Path) -> None:
    """Write a detector of published sizes, ResNet-101, and the picture that it is timed on."""
    place.mkdir(parents=True)
    torch.manual_seed(0)
    network = published_network()
    few_values(network)
    published_detector(network, CAFFE_SETTINGS, place)
    Image.fromarray(made_scene()).save(place / "picture.png")


def write_small_detector(golden_case: Path, place: Path) -> None:
    """Write a golden case's detector under the name of the published one's."""
    place.mkdir(parents=True)
    shutil.copytree(golden_case / "bundle", place / "bua-caffe-float32")
    Image.fromarray(made_scene()).save(place / "picture.png")


@torch.no_grad()
def few_values(model: torch.nn.Module) -> None:
    """Round random weights to two values, plus and minus: times are the same, the pack is smaller.

    Every matrix keeps its standard deviation.
    """
    for weights in model.parameters():
        if weights.ndim > 1:
            middle, spread = weights.mean(), weights.std()
            weights.copy_(torch.where(weights < middle, -spread, spread))
