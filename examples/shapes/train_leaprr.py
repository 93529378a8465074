"""Train a LeaPRR on a bundle's rankings of the shapes world, or measure what one changes.

Any family's bundle will do: a matcher or a dual encoder, of which the scores and pooled embeddings
are read.

The checkpoint has the published form; the sizes are small except for K and the number of heads,
which are the published ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.shapes.captions import CAPTIONS_PER_PICTURE
from examples.shapes.recall import Recalls, recalls
from examples.shapes.similarities import Similarities, similarities
from examples.shapes.training import CHECKPOINTS, run, save_checkpoint
from itr_deploy import Matcher
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.models.leaprr.checkpoint import load
from itr_deploy.models.leaprr.config import LeaprrConfig
from itr_deploy.models.leaprr.network import Leaprr
from itr_deploy.models.registry import reranker_family
from itr_deploy.runtime.rerank import Shape, SimilarityMatrices

CHECKPOINT_NAME = "checkpoint_best.pth"
OUTPUT = CHECKPOINTS / "leaprr"
FAMILY = reranker_family("leaprr")

_BATCH = 256  # queries prepared or measured at once


class Prepared:
    """All queries of one direction of a split: the network's inputs and the right answers.

    Attributes:
        cross_scores: The matcher's scores `[Q, N]`.
        shortlist: int64 `[Q, K - 1]`.
        affinities: float32 `[Q, K, 2L]`.
        edges: float32 `[Q, K, K]`.
        right: bool `[Q, K - 1]`, which candidates belong to the query.
    """

    def __init__(self, matrices: SimilarityMatrices, *, captions: bool) -> None:
        starts = range(0, matrices.queries, _BATCH)
        rows = [np.arange(start, min(start + _BATCH, matrices.queries)) for start in starts]
        parts = [matrices.inputs(part) for part in rows]
        self.cross_scores = matrices.cross_scores
        self.shortlist = np.concatenate([part.shortlist for part in parts])
        self.affinities = torch.from_numpy(np.concatenate([part.affinities for part in parts]))
        self.edges = torch.from_numpy(np.concatenate([part.edges for part in parts]))
        queries, items = np.arange(matrices.queries), self.shortlist
        if captions:
            queries = queries // CAPTIONS_PER_PICTURE
        else:
            items = items // CAPTIONS_PER_PICTURE
        self.right = torch.from_numpy(items == queries[:, None])

    @torch.no_grad()
    def reranked(self, model: Leaprr) -> NDArray[np.float32]:
        """Scores `[Q, N]` that rank as a server does: the re-ranked items above the rest."""
        made = np.array(self.cross_scores, np.float32)
        above = made.max() + 2  # new scores are cosines
        batches = zip(self.affinities.split(_BATCH), self.edges.split(_BATCH), strict=True)
        scores = torch.cat([model(*batch) for batch in batches]).numpy()
        np.put_along_axis(made, self.shortlist, above + scores, axis=1)
        return made


@dataclass(frozen=True)
class Ways:
    """Both directions of a split."""

    by_caption: Prepared
    by_picture: Prepared

    @classmethod
    def of(cls, data: Similarities, pillars: int) -> Ways:
        """Prepare both directions for the published K."""
        text, image = (
            Shape(rows, pillars, FAMILY.neighbours, FAMILY.edge_share / rows)
            for rows in FAMILY.rows
        )
        return cls(
            Prepared(data.by_caption(text), captions=True),
            Prepared(data.by_picture(image), captions=False),
        )

    def before(self) -> Recalls:
        """Recall of the matcher alone."""
        return recalls(self.by_picture.cross_scores)

    def after(self, by_caption: Leaprr, by_picture: Leaprr) -> Recalls:
        """Recall both ways, each direction re-ranked by its own network."""
        pictures = recalls(self.by_picture.reranked(by_picture))
        captions = recalls(self.by_caption.reranked(by_caption).T)
        return Recalls(pictures.image_to_text, captions.text_to_image)


class Learner:
    """One direction's network in training.

    Queries whose shortlist holds no right candidate teach nothing and are left out.
    """

    def __init__(self, groups: Sequence[Prepared], options: Namespace) -> None:
        self.affinities = torch.cat([group.affinities for group in groups])
        self.edges = torch.cat([group.edges for group in groups])
        self.right = torch.cat([group.right for group in groups])
        self.useful = self.right.any(dim=1).nonzero().squeeze(1)
        self.model = Leaprr(
            LeaprrConfig(
                pillars=options.pillars,
                embed_dim=options.embed_dim,
                heads=FAMILY.heads,
                hidden=4 * options.embed_dim,
                depth=options.depth,
            )
        )
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), options.learning_rate, weight_decay=options.weight_decay
        )
        steps = options.epochs * -(-len(self.useful) // options.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, options.learning_rate, total_steps=steps
        )

    def epoch(self, options: Namespace, shuffling: torch.Generator) -> float:
        """Go through all queries once; returns the mean loss."""
        self.model.train()
        losses = []
        order = self.useful[torch.randperm(len(self.useful), generator=shuffling)]
        for rows in order.split(options.batch_size):
            scores = self.model(self.affinities[rows], self.edges[rows])
            loss = listwise_loss(scores / options.temperature, self.right[rows])
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), options.grad_clip)
            self.optimiser.step()
            self.schedule.step()
            losses.append(loss.item())
        self.model.eval()
        return sum(losses) / len(losses)


def listwise_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Cross entropy of the right candidates' share of the softmax over all `[B, K - 1]`."""
    wrong_left_out = logits.masked_fill(~right, -torch.inf)
    return (logits.logsumexp(dim=1) - wrong_left_out.logsumexp(dim=1)).mean()


def train(options: Namespace) -> None:
    """Train both directions, and keep the epoch with the best rsum on dev."""
    torch.manual_seed(options.seed)
    shuffling = torch.Generator().manual_seed(options.seed)
    training, (dev,) = (ways(options, name) for name in (options.split, "dev"))
    by_caption = Learner([group.by_caption for group in training], options)
    by_picture = Learner([group.by_picture for group in training], options)
    print(f"before: {options.split} {training[0].before()}, dev {dev.before()}", flush=True)
    best = 0.0
    for epoch in range(1, options.epochs + 1):
        began = time.monotonic()
        losses = [side.epoch(options, shuffling) for side in (by_caption, by_picture)]
        found = dev.after(by_caption.model, by_picture.model)
        shown = ", ".join(f"{loss:.3f}" for loss in losses)
        seconds = time.monotonic() - began
        print(f"epoch {epoch}: losses {shown}, dev {found}, {seconds:.0f} s", flush=True)
        if found.rsum > best:
            best = found.rsum
            save(by_caption.model, by_picture.model, epoch, found, options.output)
    report(options.output / CHECKPOINT_NAME, options)


def ways(options: Namespace, name: str) -> list[Ways]:
    """A split's queries, scored by the bundle, in groups of about the size of the test split.

    Re-ranking is learned with as many items as it will be used with: with more, the candidates
    would be nearer to each other than they will ever be in use.
    """
    matcher = Matcher.load(options.bundle)
    pictures = min(options.pictures, len(read_split(options.data, name).image_ids))
    starts = range(0, pictures, options.group)
    return [
        Ways.of(
            similarities(
                matcher,
                options.data,
                name,
                slice(start, min(start + options.group, pictures)),
                options.scores,
            ),
            options.pillars,
        )
        for start in starts
    ]


def save(by_caption: Leaprr, by_picture: Leaprr, epoch: int, found: Recalls, output: Path) -> None:
    """Write the dictionary that the published program saves."""
    state: dict[str, Tensor] = {}
    for name, model in (("model_i2t", by_picture), ("model_t2i", by_caption)):
        state |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
        # The published loss has a layer of its own; this one has none, and the entry is never read.
        inputs, width = 2 * model.pillars, model.config.embed_dim
        state[f"{name}.feature_align.layers.0.weight"] = torch.zeros(inputs, width)
        state[f"{name}.feature_align.layers.0.bias"] = torch.zeros(inputs)
    ways = zip(("r", "rt"), (found.text_to_image, found.image_to_text), strict=True)
    recall = {f"{way}{k}": at for way, ats in ways for k, at in zip((1, 5, 10), ats, strict=True)}
    recall["rsum"] = found.rsum
    checkpoint = {"epoch": epoch, "state_dict": state, "recall": recall}
    save_checkpoint(checkpoint, output / CHECKPOINT_NAME)


def report(checkpoint: Path, options: Namespace) -> None:
    """Print recall before and after, on the test split."""
    trained = load(checkpoint, heads=FAMILY.heads)
    text, image = trained.text_to_image, trained.image_to_text
    assert isinstance(text, Leaprr)
    assert isinstance(image, Leaprr)
    (test,) = ways(options, "test")
    pictures, captions = test.by_picture.cross_scores.shape
    print(f"test: {pictures} pictures, {captions} captions")
    print(f"before: {test.before()}")
    print(f"after:  {test.after(text, image)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.shapes.train_leaprr",
        description="Train a LeaPRR on a bundle's rankings of the shapes world, or evaluate one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that make_data wrote")
    add("--split", default="rerank", help="to train on; one that the matcher has not seen")
    add("--bundle", type=Path, required=True, help="the exported bundle to re-rank")
    add("--scores", type=Path, required=True, help="folder that keeps the matcher's scores")
    add("--output", type=Path, default=OUTPUT, help="folder for the checkpoint")
    add("--pictures", type=int, default=3000, help="of that split; all captions of each")
    add("--group", type=int, default=250, help="pictures that are each other's gallery")
    add("--pillars", type=int, default=16, help="L, the query counted")
    add("--embed-dim", type=int, default=96, help="width of a row in the network")
    add("--depth", type=int, default=2, help="blocks")
    add("--epochs", type=int, default=8, help="times round all queries")
    add("--batch-size", type=int, default=64, help="queries in a batch")
    add("--learning-rate", type=float, default=5e-4, help="the highest")
    add("--weight-decay", type=float, default=0.05, help="of AdamW")
    add("--temperature", type=float, default=0.1, help="of the softmax over the candidates")
    add("--grad-clip", type=float, default=2.0, help="highest norm of the gradient")
    add("--seed", type=int, default=0, help="of the first weights and the order of the batches")
    add("--threads", type=int, default=2, help="the result depends on them in its last digits")
    add("--evaluate", type=Path, metavar="CHECKPOINT", help="only print this checkpoint's recall")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.evaluate:
        return run(options, lambda given: report(given.evaluate, given))
    return run(options, train)


if __name__ == "__main__":
    sys.exit(main())
