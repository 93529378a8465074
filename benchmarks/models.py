"""Models of the published sizes with random weights, for benchmarks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from itr_deploy.exporters.text import BundledText, nltk_words, wordpiece
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.camera.config import CameraConfig
from itr_deploy.models.camera.deployed import CameraDeployment
from itr_deploy.models.camera.plain import Camera
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.plain import Imram
from itr_deploy.models.lhsc.config import LhscConfig
from itr_deploy.models.lhsc.deployed import LhscDeployment
from itr_deploy.models.lhsc.plain import Lhsc
from itr_deploy.models.scan.config import ScanConfig
from itr_deploy.models.scan.deployed import ScanDeployment
from itr_deploy.models.scan.plain import Scan
from itr_deploy.models.sgraf.config import SgrafConfig
from itr_deploy.models.sgraf.deployed import SgrafDeployment
from itr_deploy.models.sgraf.plain import Sgraf
from itr_deploy.models.vse_infty.config import Backbone, Stage, VseInftyConfig, Words
from itr_deploy.models.vse_infty.deployed import VseInftyDeployment
from itr_deploy.models.vse_infty.plain import OfPictures, VseInfty
from itr_deploy.models.vsrn.checkpoint import deployed_form
from itr_deploy.models.vsrn.config import VsrnConfig
from itr_deploy.models.vsrn.plain import Vsrn

REGIONS, IMAGE_DIM, EMBED_DIM, SIM_DIM, WORD_DIM, VOCAB = 36, 2048, 1024, 256, 300, 1000
TEMPERATURES = {"i2t": 4.0, "t2i": 9.0}
"""Of DIME's and SCAN's attention, by direction."""
WORDPIECES = BertSizes().vocab_size
"""The vocabulary size of bert-base-uncased."""
SMALL_BERT = BertSizes(
    vocab_size=VOCAB,
    hidden_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=64,
)
BERTS = {"small": SMALL_BERT, "base": BertSizes(), "shallow": BertSizes(num_hidden_layers=2)}
"""BERT sizes by name; ``shallow`` has two of the twelve equal layers of ``base``."""


def random_imram(arguments: argparse.Namespace) -> TrainedMatcher:
    """An IMRAM of the published sizes with random weights."""
    config = ImramConfig(
        image_dim=getattr(arguments, "image_dim", IMAGE_DIM),
        embed_dim=EMBED_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
        mode=arguments.mode,
        steps=arguments.steps,
    )
    model = Imram(config).eval()
    deployed = ImramDeployment(model, arguments.precompute).eval()
    options = {**vars(config), "precompute": arguments.precompute}
    return TrainedMatcher(model, deployed, config.image_dim, VOCAB, options)


def random_lhsc(_: argparse.Namespace) -> TrainedMatcher:
    """An LHSC of the published sizes with random weights."""
    config = LhscConfig(
        image_dim=IMAGE_DIM,
        embed_dim=EMBED_DIM,
        sim_dim=SIM_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
    )
    model = Lhsc(config).eval()
    return TrainedMatcher(model, LhscDeployment(model).eval(), IMAGE_DIM, VOCAB, vars(config))


def random_dime(arguments: argparse.Namespace) -> TrainedMatcher:
    """A DIME of the published sizes with random weights.

    ``bert`` is one of `BERTS`. A small one will do when only matching is measured, since BERT runs
    before that. The routers' random weights leave about half of the gates open, unlike those of a
    freshly initialised router.
    """
    bert = BERTS[arguments.bert]
    direction = arguments.direction
    config = DimeConfig(
        direction=direction, image_dim=IMAGE_DIM, temperature=TEMPERATURES[direction], bert=bert
    )
    model = Dime(config).eval()
    deployed = DimeDeployment(model).eval()
    return TrainedMatcher(model, deployed, IMAGE_DIM, bert.vocab_size, config.scalars())


def random_sgraf(arguments: argparse.Namespace) -> TrainedMatcher:
    """An SGRAF of the published sizes with random weights, of the module SAF or SGR."""
    config = SgrafConfig(
        image_dim=IMAGE_DIM,
        embed_dim=EMBED_DIM,
        sim_dim=SIM_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
        module=arguments.module,
        steps=3 if arguments.module == "SGR" else 0,
    )
    model = Sgraf(config).eval()
    return TrainedMatcher(model, SgrafDeployment(model).eval(), IMAGE_DIM, VOCAB, vars(config))


def random_scan(arguments: argparse.Namespace) -> TrainedMatcher:
    """A SCAN of the published sizes with random weights and the defaults of its program."""
    config = ScanConfig(
        image_dim=IMAGE_DIM,
        embed_dim=EMBED_DIM,
        word_dim=WORD_DIM,
        vocab_size=VOCAB,
        direction=arguments.direction,
        temperature=TEMPERATURES[arguments.direction],
    )
    model = Scan(config).eval()
    return TrainedMatcher(model, ScanDeployment(model).eval(), IMAGE_DIM, VOCAB, vars(config))


MODELS: dict[str, Callable[[argparse.Namespace], TrainedMatcher]] = {
    "imram": random_imram,
    "lhsc": random_lhsc,
    "dime": random_dime,
    "sgraf": random_sgraf,
    "scan": random_scan,
}


def random_vsrn(_: argparse.Namespace) -> TrainedMatcher:
    """A VSRN of the published sizes, of the architecture for MS-COCO, with random weights."""
    config = VsrnConfig(IMAGE_DIM, 2 * EMBED_DIM, WORD_DIM, VOCAB)
    model = Vsrn(config).eval()
    return TrainedMatcher(model, deployed_form(model).eval(), IMAGE_DIM, VOCAB, vars(config))


def random_camera(arguments: argparse.Namespace) -> TrainedMatcher:
    """A CAMERA of the published sizes with random weights; ``bert`` is one of `BERTS`."""
    config = CameraConfig(bert=BERTS[arguments.bert])
    model = Camera(config).eval()
    deployed, pieces = CameraDeployment(model).eval(), config.bert.vocab_size
    return TrainedMatcher(model, deployed, IMAGE_DIM, pieces, config.scalars())


DETECTOR = Backbone(
    source="detector",
    picture_size=512,
    stem=64,
    stages=tuple(
        Stage(blocks, width, 4 * width)
        for blocks, width in zip((3, 4, 23, 3), (64, 128, 256, 512), strict=True)
    ),
)
"""ResNet-101 as the detector has it."""

RESNEXT = Backbone(
    source="wsl",
    picture_size=512,
    stem=64,
    stages=tuple(
        Stage(blocks, 8 * width, 4 * width, groups=32)
        for blocks, width in zip((3, 4, 23, 3), (64, 128, 256, 512), strict=True)
    ),
)
"""ResNeXt-101 32x8d; its width is four times the planes, of 32 groups: 256 to 2048."""


def random_vse_infty(arguments: argparse.Namespace) -> TrainedMatcher:
    """A VSE-infinity of the published sizes with random weights.

    ``images`` is ``regions``, ``detector`` or ``resnext``; ``bert`` one of `BERTS`, or None for
    words and a GRU.
    """
    backbone = {"regions": None, "detector": DETECTOR, "resnext": RESNEXT}[arguments.images]
    text = Words(VOCAB, WORD_DIM) if arguments.bert is None else BERTS[arguments.bert]
    config = VseInftyConfig(IMAGE_DIM, EMBED_DIM, text, backbone)
    model = VseInfty(config).eval()
    plain = model if backbone is None else OfPictures(model, backbone).eval()
    deployed = VseInftyDeployment(model).eval()
    return TrainedMatcher(plain, deployed, IMAGE_DIM, config.vocab_size, config.scalars())


def random_vocabulary(
    family: str, folder: Path, size: int | None = None, *, pieces: bool | None = None
) -> BundledText:
    """Text processing with meaningless words or word pieces, by default as many as the model has.

    ``pieces`` says which of both; by default DIME's are pieces.
    """
    pieces = family == "dime" if pieces is None else pieces
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    if not pieces:
        special = ["<pad>", "<start>", "<end>", "<unk>"]
    words = special + [f"word{number}" for number in range((size or VOCAB) - len(special))]
    path = folder / "words"
    if pieces:
        path.write_text("\n".join(words))
        return wordpiece(path, len(words), lower_case=True)
    path.write_text(json.dumps({"word2idx": {w: n for n, w in enumerate(words)}}))
    return nltk_words(path, VOCAB)
