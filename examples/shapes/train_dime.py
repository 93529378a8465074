"""Train one direction of DIME on the shapes world, or evaluate a checkpoint.

Its BERT is tiny and is trained from scratch with the rest. The checkpoint has the published form,
so that it is deployed in the same way as a published one.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.shapes import training
from examples.shapes.dataset import Split
from examples.shapes.training import CHECKPOINTS, Subject
from examples.shapes.wordpieces import build_pieces
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.dime.cells import Router
from itr_deploy.models.dime.checkpoint import PARTS, load
from itr_deploy.models.dime.config import DIRECTIONS, DimeConfig
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.routes import CELLS, PATHS
from itr_deploy.runtime.text.wordpiece import WordPieceProcessor

VOCABULARY_NAME, BERT_CONFIG_NAME = "vocab.txt", "bert_config.json"
MAX_WORDS = 32
TEMPERATURES = {"i2t": 4.0, "t2i": 9.0}
OPEN = 1.5
"""Initial last bias of every router in the published program, so that all gates are open."""


class Gates:
    """Collects the gates of every router while the model runs."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: list[Tensor] = []
        for module in model.modules():
            if isinstance(module, Router):
                module.register_forward_hook(lambda _, __, gates: self._seen.append(gates.mean()))

    def mean(self) -> Tensor:
        """Mean of the gates since the last call."""
        found, self._seen = torch.stack(self._seen).mean(), []
        return found


def build(options: Namespace, split: Split) -> Subject:
    """A DIME with fresh weights."""
    pieces = build_pieces(split.captions)
    bert = BertSizes(
        vocab_size=len(pieces),
        hidden_size=options.bert_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * options.bert_size,
        max_position_embeddings=MAX_WORDS,
    )
    config = DimeConfig(
        direction=options.direction,
        image_dim=split.images.shape[-1],
        embed_dim=options.embed_size,
        max_words=MAX_WORDS,
        heads=4,
        hidden=2 * options.embed_size,
        router_hidden=options.embed_size,
        temperature=TEMPERATURES[options.direction],
        bert=bert,
    )
    model = Dime(config)
    # In every published checkpoint, for a loss of its training that is not used here.
    path_mapping = nn.Linear(len(CELLS) * sum(PATHS), 128)
    for module in model.modules():
        if isinstance(module, Router):
            nn.init.constant_(module.mlp[2].bias, OPEN)
    gates = Gates(model)

    def score(regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        # The plain model scores one caption at a time. Where words are refined, the norm would see
        # only those of one caption, and remove what tells captions apart.
        if config.refines_words:
            model.interaction.bn.eval()
        return model.score(regions, ids, lengths)

    def evaluated(regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        scores = model.score(regions, ids, lengths)
        gates.mean()
        return scores

    return Subject(
        model=model,
        score=score,
        evaluated=evaluated,
        token_ids=token_ids(pieces),
        published=lambda: published(model, path_mapping, options),
        files={
            VOCABULARY_NAME: "".join(f"{piece}\n" for piece in pieces),
            BERT_CONFIG_NAME: json.dumps(asdict(bert), indent=1) + "\n",
        },
        penalty=lambda: options.gate_penalty * gates.mean(),
    )


def token_ids(pieces: Sequence[str]) -> Callable[[str], list[int]]:
    """A function from a caption to its token ids, including `[CLS]` and `[SEP]`."""
    processor = WordPieceProcessor(pieces, lower_case=True, length=MAX_WORDS)

    def ids_of(caption: str) -> list[int]:
        ids, lengths = processor.token_ids([caption])
        found: list[int] = ids[0, : lengths[0]].tolist()
        return found

    return ids_of


def published(model: Dime, path_mapping: nn.Linear, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them: a state dict for each part."""
    config = model.config
    opt = Namespace(
        img_dim=config.image_dim,
        embed_size=config.embed_dim,
        direction=config.direction,
        max_words=config.max_words,
        num_head_IMRC=config.heads,
        hid_IMRC=config.hidden,
        hid_router=config.router_hidden,
        raw_feature_norm_CMRC=config.attention_norm,
        lambda_softmax_CMRC=config.temperature,
        no_imgnorm=not config.image_norm,
        use_abs=config.image_abs,
        bert_config_file=BERT_CONFIG_NAME,
        vocab_file=VOCABULARY_NAME,
        do_lower_case=True,
        **training.training_options(options),
    )
    parts = [model.get_submodule(part).state_dict() for part in PARTS]
    parts[2] |= {f"path_mapping.{key}": value for key, value in path_mapping.state_dict().items()}
    return {"model": parts, "opt": opt, "Eiters": 0}


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    if not options.evaluate:
        options.output = options.output or CHECKPOINTS / f"dime_{options.direction}"
        training.train(options, build)
        return
    folder: Path = options.evaluate.parent
    pieces = (folder / VOCABULARY_NAME).read_text(encoding="utf-8").splitlines()
    model = load(options.evaluate, DimeOptions(bert_config=folder / BERT_CONFIG_NAME))
    training.report(model.plain.score, token_ids(pieces), options)


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train DIME on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser(
        "train_dime",
        description,
        loss="contrastive",
        batch_size=20,
        epochs=2,
        learning_rate=1e-3,
        threads=1,
    )
    add = parser.add_argument
    add("--direction", choices=DIRECTIONS, default="i2t", help="what is refined: regions or words")
    add("--embed-size", type=int, default=64, help="width of the joint space")
    add("--bert-size", type=int, default=64, help="width of BERT")
    add("--gate-penalty", type=float, default=0.05, help="on the mean of all gates")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
