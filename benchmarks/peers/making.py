"""Makes the files of a `Part` with PyTorch and our own library."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import itr_deploy
from benchmarks.matching import LENGTHS, exported
from benchmarks.models import IMAGE_DIM, REGIONS, random_imram
from benchmarks.peers.world import CAPTIONS, IMAGES, LARGE, PAIRED, QUERIES, SEED, WORDS, Part
from examples.shapes.make_data import make_split
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import NoisyCopies
from itr_deploy.models.imram import FAMILY
from itr_deploy.models.imram.options import ImramOptions

HERE = Path(__file__).resolve().parent.parent.parent
CHECKPOINT = HERE / "examples" / "shapes" / "checkpoints" / "imram"


def make_published(part: Part) -> None:
    """IMRAM in text mode, published sizes, random weights; random images and captions."""
    _begin(part)
    matcher, plain = _random(part, "full")
    rng = np.random.default_rng(SEED)
    regions = rng.standard_normal((IMAGES, REGIONS, IMAGE_DIM), dtype=np.float32)
    words = [*(rng.integers(*LENGTHS, size=CAPTIONS) - 2), *[WORDS] * QUERIES]
    captions = [" ".join(f"word{n}" for n in rng.integers(0, 500, size)) for size in words]
    _write(part, matcher, plain, regions, captions, PAIRED)


def make_shapes(part: Part) -> None:
    """The trained IMRAM, the test split's images, and one of each image's captions."""
    _begin(part)
    checkpoint = CHECKPOINT / "model_best.pth.tar"
    vocabulary = CHECKPOINT / "shapes_vocab.json"
    itr_deploy.export("imram", checkpoint=checkpoint, vocab=vocabulary, output=part.bundle)
    data = part.folder / "data"
    make_split("test", data, with_pictures=False)
    regions = np.load(data / "test_ims.npy")
    captions = (data / "test_caps.txt").read_text(encoding="utf-8").splitlines()
    plain = FAMILY.load(checkpoint, ImramOptions()).plain
    matcher = itr_deploy.Matcher.load(part.bundle)
    _write(part, matcher, plain, regions, captions[:: len(captions) // len(regions)], len(regions))


def make_large(part: Part) -> None:
    """The published model again, stored as small as it can be, and `LARGE` images of it."""
    _begin(part)
    matcher, _ = _random(part, "none")
    encoded = matcher.encode_images(RandomItems(matcher).make("image", 256))
    gallery = itr_deploy.Gallery.create(part.gallery, matcher, "image")
    copies = NoisyCopies(matcher, encoded, LARGE)
    gallery.add([str(number) for number in range(LARGE)], copies)  # type: ignore[arg-type]


def _begin(part: Part) -> None:
    """Remove what a run that was stopped left behind."""
    shutil.rmtree(part.folder, ignore_errors=True)
    part.folder.mkdir(parents=True)


def _random(part: Part, precompute: str) -> tuple[itr_deploy.Matcher, Any]:
    torch.manual_seed(SEED)
    options = argparse.Namespace(
        family="imram", mode="text_IMRAM", steps=3, precompute=precompute, threads=None
    )
    trained = random_imram(options)
    return exported(options, trained, part.folder), trained.plain


def _write(
    part: Part,
    matcher: itr_deploy.Matcher,
    plain: Any,
    regions: NDArray[np.float32],
    captions: Sequence[str],
    scored: int,
) -> None:
    """Everything but the bundle. ``scored`` is of how many images there are scores."""
    folder = part.folder
    gallery = itr_deploy.Gallery.create(part.gallery, matcher)
    gallery.add([str(number) for number in range(len(regions))], regions)
    ids, lengths = matcher.text.token_ids(captions)
    with torch.inference_mode():
        parts = torch.from_numpy(regions).split(64)
        images = torch.cat([plain.encode_images(one) for one in parts])
        words = plain.encode_texts(torch.from_numpy(ids), torch.from_numpy(lengths))
    arrays = {
        "regions": regions,
        "images": images.numpy(),
        "ids": ids,
        "lengths": lengths,
        "words": words.numpy(),
        "scores": matcher.score(texts=list(captions), images=regions[:scored]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    torch.save(plain.state_dict(), part.state)
    (folder / "config.json").write_text(json.dumps(vars(plain.config)))
    (folder / "captions.json").write_text(json.dumps(list(captions)))
