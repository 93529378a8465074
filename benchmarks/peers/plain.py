"""The plain model in PyTorch, and the form in which it can be exported or compiled."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.first import started
from benchmarks.peers.scoring import Floats, Matching, OneByOne, tokens
from benchmarks.peers.world import CAPTIONS, Part, World
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.plain import Imram
from itr_deploy.models.layers import l2_norm_published

CACHE = "TORCHINDUCTOR_CACHE_DIR"


def plain_model(part: Part) -> Imram:
    """The part's plain model."""
    model = Imram(ImramConfig(**part.config())).eval()
    model.load_state_dict(torch.load(part.state, weights_only=True))
    return model


class OneCaption(nn.Module):
    """One caption without padding over all images: ``[N, R, D], int64 [1, L] -> [N]``.

    The published `score` packs padded captions and reads their lengths, neither of which can be
    traced; a caption that is as long as it is needs no packing, and the loop is the caller's.
    """

    def __init__(self, model: Imram) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Encode the caption and score it."""
        model = self.model
        states, _ = model.txt_enc.rnn(model.txt_enc.embed(ids))
        forward, backward = states.chunk(2, dim=-1)
        words = (forward + backward) / 2
        if model.config.text_norm:
            words = l2_norm_published(words, -1)
        words = words.expand(images.shape[0], -1, -1)
        steps = []
        if model.config.has_text_branch:
            steps.append(model._branch("t2i", words, images))
        if model.config.has_image_branch:
            steps.append(model._branch("i2t", images, words))
        return torch.cat(steps).sum(dim=0)


def example(part: Part, images: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs of `OneCaption` to trace it with."""
    return torch.from_numpy(np.array(part.array("images")[:images])), torch.tensor(
        [[1, 5, 4, 6, 2]]
    )


class Published(OneByOne):
    """The published program: the loop over captions, which it encodes in one padded batch."""

    def __init__(self, part: Part, images: int) -> None:
        self._model = plain_model(part)
        self._images = torch.from_numpy(part.array("images")[:images].copy())
        self._ids = torch.from_numpy(part.array("ids").copy())
        self._lengths = torch.from_numpy(part.array("lengths").copy())

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        return self.pairs([caption])[:, 0]

    @torch.inference_mode()
    def pairs(self, captions: Sequence[int]) -> Floats:
        """See `Opened`."""
        lengths = self._lengths[list(captions)]
        words = self._model.encode_texts(self._ids[list(captions), : lengths.max()], lengths)
        return self._model.match(self._images, words, lengths).numpy()


class Eager(Matching):
    """PyTorch without more."""

    name = "eager"
    installs = ("torch", "numpy")
    note = "the published loop over captions; regions are embedded beforehand, as for all peers"

    def open(self, part: Part, folder: Path, images: int) -> Published:
        """See `Matching`."""
        return Published(part, images)


class CompiledCaption(OneByOne):
    """`OneCaption`, compiled; the code is kept in ``folder``."""

    def __init__(self, part: Part, folder: Path, images: int, dynamic: bool) -> None:
        os.environ.setdefault(CACHE, str(folder.absolute() / "code"))
        module = OneCaption(plain_model(part)).eval()
        self._run = torch.compile(module, dynamic=dynamic)
        self._images = torch.from_numpy(part.array("images")[:images].copy())
        self._tokens = [torch.from_numpy(one) for one in tokens(part)]

    @torch.inference_mode()
    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        return self._run(self._images, self._tokens[caption]).numpy()


class Compiled(Matching):
    """`torch.compile` for whatever length and number of images."""

    name = "compile"
    installs = ("torch", "numpy")
    dynamic = True

    def build(self, part: Part, folder: Path) -> None:
        """See `Matching`: the code of a first query."""
        self.open(part, folder, len(part.array("images"))).search(CAPTIONS)

    def open(self, part: Part, folder: Path, images: int) -> CompiledCaption:
        """See `Matching`."""
        return CompiledCaption(part, folder, images, self.dynamic)

    def told(self, world: World) -> str:
        """How long the first start of all takes, and what else is to be known."""
        with tempfile.TemporaryDirectory() as empty:
            seconds, _ = started(self.name, world, **{CACHE: empty})
        told = f"a cold start with code that was compiled before; without any {seconds:.0f} s"
        return f"{told}. {self.note}".removesuffix(". ")


class CompiledStatic(Compiled):
    """`torch.compile` for each length and number of images anew."""

    name = "compile-static"
    dynamic, one_length = False, True
    note = "compiles anew for every length of a text, so all are of one here"
