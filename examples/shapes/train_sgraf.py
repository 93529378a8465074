"""Train SGRAF, module SAF, on the shapes world, or evaluate a checkpoint of it.

The checkpoint has the published form, so that it is deployed in the same way as a published one.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from examples.shapes import training, words
from examples.shapes.dataset import Split
from examples.shapes.training import CHECKPOINTS, Subject
from itr_deploy.models.layers import l1_norm_published, l2_norm_published, position_mask
from itr_deploy.models.sgraf.checkpoint import PARTS, load
from itr_deploy.models.sgraf.config import SgrafConfig
from itr_deploy.models.sgraf.plain import Sgraf
from itr_deploy.models.similarity.plain import TEMPERATURE, GatedSum

OUTPUT = CHECKPOINTS / "sgraf_saf"


def score_batch(model: Sgraf, regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """The scores `[N, C]` of `Sgraf.score` with module SAF, for all pairs at once.

    In training, gates are normalised over the whole batch where the published program takes the
    pairs of one caption.
    """
    similarity = model.similarity
    images, words = model.encode_images(regions), model.encode_texts(ids, lengths)
    captions = [
        similarity.t_global_w(caption[None, :length])
        for caption, length in zip(words, lengths.tolist(), strict=True)
    ]
    apart = similarity.v_global_w(images)[:, None] - torch.cat(captions)
    overall = similarity.sim_tranglo_w(apart.pow(2)).unsqueeze(2)

    # Padded words are 0, so that they do not change a norm over the words.
    affinity = functional.leaky_relu(torch.einsum("nrd,cld->ncrl", images, words), 0.1)
    weights = torch.softmax(TEMPERATURE * l2_norm_published(affinity, 3), dim=2)
    attended = l2_norm_published(torch.einsum("ncrl,nrd->ncld", weights, images), -1)
    local = similarity.sim_tranloc_w((attended - words).pow(2))

    vectors = l2_norm_published(torch.cat([overall, local], dim=2), -1)
    real = functional.pad(position_mask(lengths, ids.shape[1]), (1, 0), value=True)
    summed = _gated(similarity.SAF_module, vectors, real.expand(len(images), -1, -1))
    return torch.sigmoid(similarity.sim_eval_w(summed)).squeeze(2)


def _gated(module: GatedSum, vectors: Tensor, real: Tensor) -> Tensor:
    """A `GatedSum` of `vectors [N, C, K, S]`, of those alone that are `real [N, C, K]`."""
    logits = module.attn_sim_w(vectors[real])
    gates = torch.zeros(real.shape).masked_scatter(real, torch.sigmoid(module.bn(logits)))
    return l2_norm_published((l1_norm_published(gates, -1).unsqueeze(2) @ vectors).squeeze(2), -1)


def build(options: Namespace, split: Split) -> Subject:
    """An SGRAF SAF with fresh weights."""
    config = SgrafConfig(
        image_dim=split.images.shape[-1],
        embed_dim=options.embed_size,
        sim_dim=options.sim_dim,
        word_dim=options.word_dim,
        vocab_size=words.vocabulary_size(options),
        module="SAF",
        steps=0,
    )
    model = Sgraf(config)

    def score(regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        return score_batch(model, regions, ids, lengths)

    return words.subject(model, options, score, lambda: published(model, options))


def published(model: Sgraf, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them: a state dict for each part."""
    config = model.config
    opt = Namespace(
        img_dim=config.image_dim,
        word_dim=config.word_dim,
        embed_size=config.embed_dim,
        sim_dim=config.sim_dim,
        module_name=config.module,
        sgr_step=3,  # the program's default, which SAF does not read
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        bi_gru=config.bidirectional,
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
        **training.training_options(options),
    )
    return {"model": [model.get_submodule(part).state_dict() for part in PARTS], "opt": opt}


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    words.work(options, build, load)


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train SGRAF, module SAF, on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser(
        "train_sgraf", description, output=OUTPUT, loss="contrastive", epochs=4, threads=1
    )
    add = parser.add_argument
    add("--embed-size", type=int, default=64, help="width of the joint space")
    add("--sim-dim", type=int, default=48, help="width of a similarity vector")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
