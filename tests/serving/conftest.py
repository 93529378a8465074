"""A gallery to serve, and a server that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.runtime.encoding.regions import Regions
from tests.support.items import images, names
from tests.support.retrieval import COUNT, columns
from tests.support.servers import Running, running_server

SIZE = (48, 32)
"""Width and height of the pictures."""


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        bundle: The bundle of the golden case with both branches.
        gallery: `COUNT` images of random regions with boxes, and columns ``split`` and ``year``.
        pictures: Pictures of the first ten, of `SIZE`.
    """

    bundle: Path
    gallery: Path
    pictures: Path

    def retriever(self) -> Retriever:
        """Searches the same in this process."""
        return Retriever.load(self.bundle, self.gallery)


@pytest.fixture(scope="session")
def served(bundle: Path, matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A bundle, a gallery and pictures; do not change them."""
    root = tmp_path_factory.mktemp("served")
    Gallery.create(root / "gallery", matcher).add(names(COUNT), placed(COUNT), columns())
    (root / "pictures").mkdir()
    for number, name in enumerate(names(10)):
        pixels = np.full((SIZE[1], SIZE[0], 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(root / "pictures" / f"{name}.png")
    return Served(bundle, root / "gallery", root / "pictures")


def placed(count: int, seed: int = 0) -> Regions:
    """Random images in pictures of `SIZE`."""
    features = images(count, seed=seed)
    corners = np.random.default_rng(seed).uniform(0, 0.5, (*features.shape[:2], 2))
    boxes = np.concatenate([corners, corners + 0.5], 2) * (SIZE * 2)
    return Regions(features, boxes.astype(np.float32), np.tile(np.float32(SIZE), (count, 1)))


@pytest.fixture(scope="session")
def server(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of `served` with pictures and usual settings; what is sent to it must not end it."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    options = "--pictures", served.pictures, "--refresh", "0"
    with running_server(served.bundle, served.gallery, log, *options) as running:
        yield running
        assert running.end() == 0, running.said
