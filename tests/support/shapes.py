"""The IMRAM that was trained on the example world."""

from __future__ import annotations

from examples.shapes.training import CHECKPOINTS


class ShapesCase:
    """The committed checkpoint."""

    checkpoint = CHECKPOINTS / "imram" / "model_best.pth.tar"
    vocab = CHECKPOINTS / "imram" / "shapes_vocab.json"

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        return "imram", "--checkpoint", self.checkpoint, "--vocab", self.vocab


SHAPES = ShapesCase()
