"""itr-deploy: the default cascade, every image, and both on OpenVINO instead of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.scoring import ROUNDS, Floats, Matching, Places, median_seconds
from benchmarks.peers.world import CAPTIONS, TOP, Part, World


class Searching:
    """A retriever over a part's gallery; pairs by its matcher, from float32."""

    def __init__(self, part: Part, images: int, options: dict[str, Any], backend: Any) -> None:
        from itr_deploy import Retriever

        self._part, self._images, self._options = part, images, options
        self._captions = part.captions()
        self._retriever = Retriever.load(part.bundle, part.gallery, backend=backend, query_budget=0)

    @cached_property
    def _encoded(self) -> Any:
        regions = np.array(self._part.array("regions")[: self._images])
        return self._retriever.matcher.encode_images(regions)

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        return self.pairs([caption])[:, 0]

    def pairs(self, captions: Sequence[int]) -> Floats:
        """See `Opened`."""
        texts = [self._captions[caption] for caption in captions]
        return self._retriever.matcher.score(texts=texts, images=self._encoded)

    def search(self, caption: int) -> Places:
        """See `Opened`."""
        hits = self._retriever.search(self._captions[caption], k=TOP, **self._options)
        return np.array([int(hit.id) for hit in hits])


class Cascade(Matching):
    """Three stages that narrow the gallery, with the bundle's default widths."""

    name = "itr-deploy"
    installs = ("itr-deploy[cpu]",)
    exhaustive = False
    options: dict[str, Any] = {}  # noqa: RUF012

    def open(self, part: Part, folder: Path, images: int) -> Searching:
        """See `Matching`."""
        return Searching(part, images, self.options, self.backend(part))

    def backend(self, part: Part) -> Any:
        """What runs the bundle's graphs."""
        return "auto"

    def large(self, world: World) -> float | None:
        """Of the gallery that ``--large`` made, all of it in memory."""
        if self.exhaustive or not (world.large.folder / "done").exists():
            return None
        from itr_deploy import Retriever

        retriever = Retriever.load(
            world.large.bundle,
            world.large.gallery,
            backend=self.backend(world.large),
            memory_budget=10 << 30,
        )
        captions = world.published.captions()[CAPTIONS:]
        return 1000 * median_seconds(
            [lambda text=text: retriever.search(text) for text in captions[: 1 + ROUNDS]]
        )


class Exhaustive(Cascade):
    """Every image by the matcher."""

    name = "itr-deploy-exhaustive"
    exhaustive = True
    options = {"candidates": None}  # noqa: RUF012
