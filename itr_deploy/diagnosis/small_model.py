"""A small IMRAM with random weights, written as the published program writes its checkpoints."""

from __future__ import annotations

import io
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import torch

from itr_deploy.bundle.files import write_file, write_json
from itr_deploy.exporters.text import SPECIAL_WORDS
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.plain import Imram

# GPUs compute half precision in multiples of 8.
CONFIG = ImramConfig(
    image_dim=64, embed_dim=64, word_dim=32, vocab_size=64, mode="text_IMRAM", steps=2
)


@dataclass(frozen=True)
class SmallModel:
    """The files of a model: its checkpoint and its vocabulary."""

    checkpoint: Path
    vocabulary: Path


def write_small_model(root: Path) -> SmallModel:
    """Write a model with the same weights every time.

    Raises:
        OutputError: It cannot be written.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        weights = Imram(CONFIG).state_dict()
    content = {
        # The published program trains on several GPUs, which adds the prefix.
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
    """The options by the names that the published program gives them."""
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
