"""The self-test: a small model, exported, run on every backend and compared with PyTorch."""

from __future__ import annotations

import io
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.files import output_errors, write_file, write_json
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.modality import MODALITIES
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.deploy.exporting import export
from itr_deploy.diagnosis.candidates import CANDIDATES, STORAGES, build, key, measure
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.exporters.text import SPECIAL_WORDS
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.plain import Imram
from itr_deploy.models.registry import family
from itr_deploy.parity.report import compare, compare_ranks
from itr_deploy.parity.samples import rank_sample
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.isolated import isolated

Progress = Callable[[str], None]

TIMEOUT = 900.0
"""Seconds for a backend; includes ONNX Runtime's TensorRT provider building its engines."""

PRECISIONS: tuple[Precision, ...] = ("float32", "float16")


# GPUs compute half precision in multiples of 8, so all widths are multiples of 8.
CONFIG = ImramConfig(
    image_dim=64, embed_dim=64, word_dim=32, vocab_size=64, mode="text_IMRAM", steps=2
)


@dataclass(frozen=True)
class Row:
    """The result of one backend.

    Attributes:
        backend: Its name.
        device: ``"cpu"`` or ``"cuda"``.
        precision: Precision of the bundle that it ran.
        state: ``missing`` if it is not available.
        said: What it ran on, why it is not available, or what is wrong.
        error: Largest error of a score compared with the plain PyTorch model; float32 storage.
        same_ranking: Whether every ranking equals PyTorch's, except within the tolerance.
        milliseconds: Median time of scoring all pairs.
    """

    backend: str
    device: str
    precision: Precision
    state: Literal["ok", "missing", "problem"]
    said: str
    error: float | None = None
    same_ranking: bool | None = None
    milliseconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Trial:
    """What every backend runs: a bundle, a file of items, and PyTorch's scores of their pairs.

    ``reference`` is ``[images, texts]``.
    """

    bundle: Bundle
    items: Path
    reference: NDArray[np.floating]


def self_test(machine: Machine, progress: Progress = lambda step: None) -> list[Row]:
    """Export a small model, run it on every available backend, and compare with PyTorch.

    Args:
        machine: The machine.
        progress: Called with the name of each step as it begins.

    Raises:
        OutputError: The system's directory for temporary files cannot be written.
        ParityError: The bundle already differs from PyTorch on the CPU.
    """
    with output_errors(Path(tempfile.gettempdir())):
        place = tempfile.TemporaryDirectory(prefix="itr-deploy-")
    with place as root:
        trials = [_prepare(Path(root) / precision, precision, progress) for precision in PRECISIONS]
        return [
            run_candidate(number, trial, machine, progress)
            for number in range(len(CANDIDATES))
            for trial in trials
        ]


def _prepare(root: Path, precision: Precision, progress: Progress) -> Trial:
    model, imram = write_small_model(root), family("imram")
    export(
        imram.name,
        checkpoint=model.checkpoint,
        vocab=model.vocabulary,
        output=root / "bundle",
        dtype=precision,
        progress=progress,
    )
    trained = imram.load(model.checkpoint, imram.options())
    sample = rank_sample(trained)
    with torch.inference_mode():
        reference = trained.plain.score(*sample.tensors()).numpy()
    items = root / "items.npz"
    with output_errors(items):
        regions = sample.images["regions"]
        np.savez(items, regions=regions, token_ids=sample.token_ids, lengths=sample.lengths)
    return Trial(read_bundle(root / "bundle"), items, reference)


def run_candidate(
    number: int, trial: Trial, machine: Machine, progress: Progress = lambda step: None
) -> Row:
    """Run one of `CANDIDATES`, given by its position, if available; compare it with PyTorch."""
    candidate = CANDIDATES[number]
    precision = trial.bundle.manifest.precision
    row = (candidate.name, candidate.device, precision)
    absent = candidate.absent(machine)
    if absent is not None and not candidate.builds(machine):
        return Row(*row, "missing", absent)
    place = f"{candidate.name} on {candidate.device}, {precision}"
    if candidate.target is not None:
        progress(f"engines for {place}")
        capability = machine.cuda.gpus[0].capability if absent is None else ""
        call = (str(trial.bundle.path), candidate.target, capability)
        built = isolated(build, *call, timeout=TIMEOUT)
        if built.answer is None:
            return Row(*row, "problem", f"its engines are not built: {built.problem}")
        if absent is not None:
            return Row(*row, "missing", f"{_engines(built.answer)} built, not run: {absent}")
    progress(place)
    scores = trial.items.with_name(f"scores{number}.npz")
    files = (str(trial.bundle.path), str(trial.items), str(scores))
    tried = isolated(measure, number, *files, timeout=TIMEOUT)
    if tried.answer is None:
        return Row(*row, "problem", str(tried.problem))
    allowed = Tolerances.of(precision)
    error, same, finite = _compare(scores, trial.reference, allowed)
    milliseconds = tried.answer["milliseconds"]
    if not finite:
        said = "gives scores that are NaN or infinite"
    elif not same or error > allowed.scores["float32"]:
        tolerance = allowed.scores["float32"]
        said = f"differs from PyTorch by more than {tolerance:.0e} or ranks otherwise"
    else:
        return Row(*row, "ok", tried.answer["ran_on"], error, same, milliseconds)
    return Row(*row, "problem", said, error, same, milliseconds)


def _engines(built: dict[str, Any]) -> str:
    layers = ", ".join(f"{count} {kind}" for kind, count in built["matrix_layers"].items())
    return f"{built['engines']} engines with {layers} matrix layers"


def _compare(
    file: Path, reference: NDArray[np.floating], allowed: Tolerances
) -> tuple[float, bool, bool]:
    """The largest error over float32 tensors, whether rankings agree, and whether all is finite."""
    by_query = {"text": reference.T, "image": reference}
    with np.load(file) as scores:
        given = {name: scores[name] for name in scores.files}
    pairs = [(query, given[key(query, "float32")], by_query[query]) for query in MODALITIES]
    largest = compare("scores", list(pairs), allowed.scores["float32"])
    ranks = [
        compare_ranks(
            query, given[key(query, storage)], by_query[query], 2 * allowed.scores[storage]
        )
        for query in MODALITIES
        for storage in STORAGES
    ]
    finite = all(bool(np.isfinite(values).all()) for values in given.values())
    return largest.max_absolute, all(entry.passed for entry in ranks), finite


@dataclass(frozen=True)
class SmallModel:
    """The files of a model: its checkpoint and its vocabulary."""

    checkpoint: Path
    vocabulary: Path


def write_small_model(root: Path) -> SmallModel:
    """Write a model with the same weights every time.

    Raises:
        OutputError: The model cannot be written.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        weights = Imram(CONFIG).state_dict()
    content = {
        # The published program trains on several GPUs, which adds the prefix ``module.``.
        "model": {f"module.{name}": value for name, value in weights.items()},
        "opt": _published_options(CONFIG),
    }
    written = io.BytesIO()
    torch.save(content, written)
    files = SmallModel(root / "model_best.pth.tar", root / "vocab.json")
    write_file(files.checkpoint, written.getvalue())
    words = {**SPECIAL_WORDS}
    words |= {f"word{number}": number for number in range(len(words), CONFIG.vocab_size)}
    write_json(files.vocabulary, {"word2idx": words})
    return files


def _published_options(config: ImramConfig) -> Namespace:
    """The options under the names that the published program gives them."""
    return Namespace(
        img_dim=config.image_dim,
        embed_size=config.embed_dim,
        word_dim=config.word_dim,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        model_mode=config.mode,
        iteration_step=config.steps,
        lambda_softmax=config.temperature,
        raw_feature_norm=config.attention_norm,
        no_IMRAM_norm=not config.memory_norm,
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
    )
