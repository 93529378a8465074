"""Late interaction instead of the matcher: MaxSim over IMRAM's own regions and words.

MaxSim, the sum over a text's words of the largest cosine with a region, is what ColBERT, LateOn and
PyLate rank by. All rows encode texts with our text encoder and have IMRAM's embedded regions; what
differs is what scores a pair. So their top 10 are not the matcher's, and beside the share of those
stands how often the image that a caption was written for comes first.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.ours import Cascade
from benchmarks.peers.registry import PEERS
from benchmarks.peers.scoring import (
    ROUNDS,
    Floats,
    Matching,
    OneByOne,
    Opened,
    Places,
    median_seconds,
)
from benchmarks.peers.table import Row
from benchmarks.peers.world import CAPTIONS, PAIRED, TOP, Part, World, kept_of_top

SHORTLIST = 300
"""Images that a re-ranker is given: as many as the default cascade's prefilter reads."""


class Ranking(Matching):
    """A row whose scores may be others than the matcher's.

    Attributes:
        right: The share of captions whose own image, of the same place, comes first; once measured.
    """

    right = 0.0

    def measure(self, world: World) -> Row:
        """See `Work`."""
        row = super().measure(world)
        return replace(row, figures={**row.figures, "recall_at_1": self.right})

    def _pairs_per_second(self, part: Part, folder: Path) -> float:
        opened, captions = self.open(part, folder, PAIRED), range(CAPTIONS)
        return PAIRED * CAPTIONS / median_seconds([lambda: opened.pairs(captions)] * ROUNDS)

    def _recall(self, part: Part, folder: Path) -> float:
        scores = part.array("scores")
        opened = self.open(part, folder, len(scores))
        found = np.stack([opened.search(caption) for caption in range(scores.shape[1])])
        self.right = float(np.mean(found[:, 0] == np.arange(len(found))))
        return kept_of_top(scores, found)


class OurCascade(Ranking, Cascade):
    """The default cascade, with the matcher at its end."""

    name = "cascade-late"


class Encoding(OneByOne):
    """Encodes texts with our bundle, as all rows here do."""

    def __init__(self, part: Part) -> None:
        from itr_deploy import Matcher

        self._matcher, self._captions = Matcher.load(part.bundle), part.captions()

    def encoded(self, *captions: int) -> Any:
        """Captions, encoded from their words on."""
        return self._matcher.encode_texts([self._captions[caption] for caption in captions])

    def words(self, caption: int) -> tuple[Floats, Floats]:
        """A caption's embedded words ``[L, D]``, without padding, and its coarse embedding."""
        found = self.encoded(caption)
        block = found.blocks[0]
        words = block.tensors["words"][0, : block.lengths[0]]
        return np.asarray(words, np.float32), found.embedding[0]


class _Prefiltering(Encoding):
    """The bundle's prefilter over every image."""

    def __init__(self, part: Part, images: int) -> None:
        super().__init__(part)
        self._images = self._matcher.encode_images(np.array(part.array("regions")[:images]))
        assert self._matcher.prefilter is not None
        self._scorer = self._matcher.prefilter

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        return self._scorer.score_all(self.encoded(caption), self._images)[0]

    def pairs(self, captions: Sequence[int]) -> Floats:
        """See `Opened`."""
        return self._scorer.score_all(self.encoded(*captions), self._images).T


class Prefilter(Ranking):
    """The cascade's first scorer of pairs alone, over every image."""

    name, installs = "prefilter-late", ("itr-deploy[cpu]",)

    def open(self, part: Part, folder: Path, images: int) -> Opened:
        """See `Matching`."""
        return _Prefiltering(part, images)


class _MaxSim(Encoding):
    """PyLate's scores of every image, held as one tensor."""

    def __init__(self, part: Part, images: int) -> None:
        super().__init__(part)
        import torch
        from pylate.scores import colbert_scores

        self._score, self._tensor = colbert_scores, torch.from_numpy
        self.images = torch.from_numpy(np.array(part.array("images")[:images]))

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        words = self._tensor(self.words(caption)[0])
        found: Floats = self._score(words[None], self.images)[0].numpy()
        return found

    def pairs(self, captions: Sequence[int]) -> Floats:
        """See `Opened`."""
        scores = np.empty((len(self.images), len(captions)), np.float32)
        for block in self.encoded(*captions).blocks:
            words = np.asarray(block.tensors["words"], np.float32)
            mask = np.arange(words.shape[1]) < block.lengths[:, None]
            found = self._score(self._tensor(words), self.images, self._tensor(mask))
            scores[:, block.rows] = found.T.numpy()
        return scores


class MaxSim(Ranking):
    """`pylate.scores.colbert_scores`, every image."""

    name, installs = "maxsim", ("pylate", "itr-deploy[cpu]")

    def open(self, part: Part, folder: Path, images: int) -> Opened:
        """See `Matching`."""
        return _MaxSim(part, images)


class _Reranked(_MaxSim):
    """Our coarse shortlist in PyLate's order."""

    def __init__(self, part: Part, images: int) -> None:
        super().__init__(part, images)
        from pylate.rank import rerank

        from itr_deploy.runtime.gallery.read import Vectors
        from itr_deploy.runtime.search.coarse import CoarseVectors

        regions = np.array(part.array("regions")[:images])
        vectors = self._matcher.encode_images(regions).embedding
        self._rerank = rerank
        self._coarse = CoarseVectors(Vectors(np.arange(images).astype(np.str_), vectors))

    def search(self, caption: int) -> Places:
        """See `Opened`."""
        words, embedding = self.words(caption)
        width = min(SHORTLIST, len(self.images))
        places = self._coarse.nearest(embedding[None], width)[0][0]
        found = self._rerank(
            [places.tolist()], [self._tensor(words)], [[self.images[place] for place in places]]
        )
        return np.array([one["id"] for one in found[0][:TOP]])


class Reranked(MaxSim):
    """`pylate.rank.rerank` of a shortlist by our coarse embeddings."""

    name, exhaustive = "rerank", False

    def open(self, part: Part, folder: Path, images: int) -> Opened:
        """See `Matching`."""
        return _Reranked(part, images)


class _Plaid(Encoding):
    """fast-plaid's search of an index on disk."""

    def __init__(self, part: Part, folder: Path) -> None:
        super().__init__(part)
        import torch
        from fast_plaid.search import FastPlaid

        self._tensor = torch.from_numpy
        self._index = FastPlaid(index=str(folder / "index"), device="cpu")

    def search(self, caption: int) -> Places:
        """See `Opened`."""
        words = self._tensor(self.words(caption)[0])
        found = self._index.search(words[None], top_k=TOP, show_progress=False)
        return np.array([place for place, _ in found[0]])


class Plaid(Ranking):
    """fast-plaid: an index of quantised regions, which chooses what MaxSim looks at."""

    name, installs = "fast-plaid", ("fast-plaid", "itr-deploy[cpu]")
    exhaustive = False
    note = "an index of 100,000 images' regions is not built in the time; it does not score pairs"

    def build(self, part: Part, folder: Path) -> None:
        """See `Matching`."""
        import torch
        from fast_plaid.search import FastPlaid

        shutil.rmtree(folder / "index", ignore_errors=True)
        regions = [torch.from_numpy(np.array(one)) for one in part.array("images")]
        FastPlaid(index=str(folder / "index"), device="cpu").create(documents_embeddings=regions)

    def open(self, part: Part, folder: Path, images: int) -> Opened:
        """See `Matching`."""
        return _Plaid(part, folder)

    def measure(self, world: World) -> Row:
        """See `Work`."""
        row = super().measure(world)
        figures = {k: v for k, v in row.figures.items() if k != "pairs_per_second"}
        return replace(row, figures=figures, group=PEERS[self.name].group)

    def _pairs_per_second(self, part: Part, folder: Path) -> float:
        return float("nan")
