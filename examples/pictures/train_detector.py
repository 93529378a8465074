"""Train a small region detector of the published architecture on pictures of shapes.

    python -m examples.pictures.train_detector --data build/pictures

It writes the weights as `bua-caffe` publishes its own, for `itr-deploy export regions`.
"""

from __future__ import annotations

import argparse
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from examples.pictures.geometry import square_anchors
from examples.pictures.learning import Batch, Learning, Losses
from examples.pictures.make_data import pictures_of
from examples.pictures.truth import ATTRIBUTES, CLASSES, objects_of
from examples.shapes.drawing import PICTURE_SIDE
from examples.shapes.scenes import MOST_OBJECTS
from examples.shapes.training import save_checkpoint
from itr_deploy.models.detector.config import CAFFE_MEAN, AttributeHead, DetectorConfig, Stage
from itr_deploy.models.detector.network import Network

SIDE = 160
"""Pixels of a side that pictures are resized to: `--shortest-side` of the export."""

PROPOSALS = 64
"""How many proposals of a picture are looked at: `--proposals` of the export."""

CHECKPOINT = Path(__file__).parent / "checkpoints" / "detector" / "shapes-frcn.pth"

CONFIG = DetectorConfig(
    dialect="bua-caffe",
    stem=16,
    stages=(Stage(1, 16, 32), Stage(1, 24, 48), Stage(3, 24, 64)),
    head=Stage(1, 32, 96),
    hidden=48,
    anchors=square_anchors((22, 30, 40, 54, 80)),
    class_scores=1 + len(CLASSES),
    attributes=AttributeHead(embedding=8, hidden=32, scores=1 + len(ATTRIBUTES)),
)
"""Bottlenecks as published, but few and narrow; three in res4, so that a cell sees far."""

_RISING = 0.15  # share of the training in which the learning rate rises
_TOLD = 50  # steps between two lines


class Pictures:
    """The pictures of a split and their objects, in memory."""

    def __init__(self, data: Path, split: str) -> None:
        """Read them.

        Raises:
            FileNotFoundError: The split has not been made.
        """
        listed = data / f"{split}_ids.txt"
        if not listed.is_file():
            raise FileNotFoundError(
                f"{listed}: no such file; make it with "
                f"python -m examples.pictures.make_data --output {data} --splits {split}"
            )
        ids = listed.read_text(encoding="utf-8").split()
        self.pixels = torch.stack([_read(pictures_of(data, split) / f"{own}.png") for own in ids])
        count = len(ids)
        self.boxes = torch.zeros(count, MOST_OBJECTS, 4)
        self.classes = torch.full((count, MOST_OBJECTS), -1)
        self.attributes = torch.full((count, MOST_OBJECTS), -1)
        for row, own in enumerate(ids):
            objects = objects_of(own)
            there = slice(len(objects.boxes))
            self.boxes[row, there] = torch.from_numpy(objects.boxes)
            self.classes[row, there] = torch.from_numpy(objects.classes) + 1
            self.attributes[row, there] = torch.from_numpy(objects.attributes) + 1

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, rows: Tensor) -> Batch:
        """These pictures, half of them mirrored, prepared as the exported detector does."""
        images, boxes = prepared(self.pixels[rows]), self.boxes[rows] * (SIDE / PICTURE_SIDE)
        mirrored = torch.rand(len(rows)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        x1, y1, x2, y2 = boxes.unbind(2)
        flipped = torch.stack([SIDE - 1 - x2, y1, SIDE - 1 - x1, y2], 2)
        boxes = torch.where(mirrored[:, None, None], flipped, boxes)
        return Batch(images, boxes, self.classes[rows], self.attributes[rows])


def prepared(pixels: Tensor) -> Tensor:
    """Pictures `uint8 [B, H, W, 3]` resized, blue first and less the mean, as `bua-caffe` does."""
    blue_first = pixels.flip(3).permute(0, 3, 1, 2).float()
    less = blue_first - torch.tensor(CAFFE_MEAN).reshape(3, 1, 1)
    return functional.interpolate(less, (SIDE, SIDE), mode="bilinear", align_corners=False)


def train(options: Namespace) -> None:
    """Train, and save the last weights.

    Raises:
        FileNotFoundError: The data has not been made.
    """
    torch.manual_seed(options.seed)
    pictures = Pictures(options.data, "train")
    network = Network(CONFIG)
    learning = Learning(network, SIDE).train()
    steps = options.epochs * (len(pictures) // options.batch_size)
    optimiser = torch.optim.AdamW(learning.parameters(), options.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=steps, pct_start=_RISING
    )
    began, told = time.monotonic(), []
    for step, rows in enumerate(_batches(len(pictures), options), 1):
        losses = learning.losses(pictures.batch(rows))
        optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(learning.parameters(), options.grad_clip)
        optimiser.step()
        schedule.step()
        told.append(_figures(losses))
        if step % _TOLD == 0 or step == steps:
            means = dict(zip(_NAMES, np.mean(told, axis=0), strict=True))
            line = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            print(f"step {step} of {steps}: {line}, {time.monotonic() - began:.0f} s", flush=True)
            told.clear()
    save_checkpoint({"model": network.state_dict()}, options.output)


_NAMES = ("objectness", "boxes", "classes", "attributes", "place", "right class", "right attribute")


def _figures(losses: Losses) -> tuple[float, ...]:
    parts = (losses.objectness, losses.regression, losses.classes, losses.attributes, losses.place)
    return (*(part.item() for part in parts), losses.right_classes, losses.right_attributes)


def _batches(pictures: int, options: Namespace) -> Iterator[Tensor]:
    """Rows of pictures, every epoch in another order."""
    for _ in range(options.epochs):
        for rows in torch.randperm(pictures).split(options.batch_size):
            if len(rows) == options.batch_size:
                yield rows


def _read(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).copy())


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.pictures.train_detector",
        description="Train a small region detector on the shapes world's pictures.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that make_data wrote")
    add("--output", type=Path, default=CHECKPOINT, help="file of the weights")
    add("--epochs", type=int, default=8, help="times round all pictures")
    add("--batch-size", type=int, default=16, help="pictures in a batch")
    add("--learning-rate", type=float, default=4e-3, help="the highest, early in the training")
    add("--grad-clip", type=float, default=5.0, help="highest norm of the gradient")
    add("--seed", type=int, default=0, help="of the first weights, the batches and the regions")
    add("--threads", type=int, default=1, help="the result depends on them in its last digits")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        train(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
