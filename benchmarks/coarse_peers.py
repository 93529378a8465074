"""The libraries that `benchmarks.coarse` compares, each behind the same three methods."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import HnswPq, HnswSq
from numpy.typing import NDArray

from itr_deploy.runtime.gallery import coarse_index
from itr_deploy.runtime.gallery.codes import Codes
from itr_deploy.runtime.gallery.layout import EMBEDDING
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.products import of_one
from itr_deploy.runtime.search.coarse import CoarseVectors

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

THREADS, NEIGHBOURS, BATCH = 2, 32, 10_000


class Peer(Protocol):
    """One way to find the largest products."""

    efforts: Sequence[float]
    """Settings of the search, from the quickest on."""
    stored: int
    """Bytes on disk, 0 for what is in memory alone."""

    def build(self, vectors: Floats) -> None:
        """Whatever is made once."""

    def search(self, query: Floats, count: int, effort: float) -> Places:
        """The best ``count``, as far as it finds them."""
        ...


class Exact:
    """Every product, as small galleries have it."""

    efforts: Sequence[float] = (1,)
    stored = 0

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        self._coarse = CoarseVectors(Vectors(_ids(len(vectors)), vectors))

    def search(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        return self._coarse.nearest(query[None], count)[0][0]


class OwnCodes(Exact):
    """What a gallery in memory has: RaBitQ's codes, exact products of the best."""

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        codes = Codes()
        codes.encode(vectors, THREADS)
        self._coarse = CoarseVectors(Vectors(_ids(len(vectors)), vectors), None, codes)


class _Refined:
    """Exact products of what an approximate search finds."""

    efforts: Sequence[float] = (2, 4, 8)
    stored = 0
    vectors: Floats

    def search(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        found = self.nearest(query, count, effort)
        found = found[found >= 0]
        if len(found) <= count:
            return found
        products = of_one(query, self.vectors[found])
        return found[np.argpartition(products, len(found) - count)[-count:]]

    def nearest(self, query: Floats, count: int, effort: float) -> Places:
        """What is refined."""
        raise NotImplementedError


class Lance:
    """An index of LanceDB over a table on disk; the library's own is the default.

    ``config`` makes it of the number of rows; None of it is no index.
    """

    def __init__(self, config: Any = None, efforts: Sequence[float] = (1,)) -> None:
        self._config, self.efforts = config, efforts

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name)
        layout = pa.schema(
            [("row", pa.int64()), (EMBEDDING, pa.list_(pa.float32(), vectors.shape[1]))]
        )

        def batches() -> Any:
            for start in range(0, len(vectors), BATCH):
                part = vectors[start : start + BATCH]
                flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
                rows = pa.array(np.arange(start, start + len(part)))
                yield pa.RecordBatch.from_arrays([rows, flat], schema=layout)

        self.table: Any = lancedb.connect(path).create_table("items", batches(), schema=layout)
        if self._config is None:
            coarse_index.build(self.table)
        elif (config := self._config(len(vectors))) is not None:
            self.table.create_index(EMBEDDING, config=config)
        inside = next(path.glob("*.lance")) / "_indices"
        self.stored = sum(file.stat().st_size for file in inside.rglob("*") if file.is_file())
        self._indexed = len(vectors)

    def search(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        asked: Any = self.table.search(query, vector_column_name=EMBEDDING).distance_type("dot")
        asked = asked.limit(count).select(["row", "_distance"])
        if self._config is None:
            asked = coarse_index.searching(asked, self._indexed)
        else:
            asked = asked.nprobes(8).ef(int(effort * count)).refine_factor(2)
        found: Places = asked.to_arrow()["row"].to_numpy()
        return found


class Usearch(_Refined):
    """A graph over vectors of fewer bits."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        from usearch.index import Index

        self.vectors = vectors
        self._index = Index(
            ndim=vectors.shape[1], metric="ip", dtype=self._kind, connectivity=NEIGHBOURS
        )
        self._index.add(np.arange(len(vectors)), vectors, threads=THREADS)

    def nearest(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        self._index.expansion_search = int(effort * count)
        return self._index.search(query, 2 * count).keys.astype(np.int64)


class Hnswlib(_Refined):
    """A graph over float32."""

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        import hnswlib

        self.vectors = vectors
        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors), ef_construction=200, M=NEIGHBOURS)
        self._index.add_items(vectors, num_threads=THREADS)

    def nearest(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        self._index.set_ef(int(effort * count))
        return self._index.knn_query(query, count, num_threads=1)[0][0].astype(np.int64)


class Faiss(_Refined):
    """An index of faiss by the text that its factory reads."""

    def __init__(self, text: str, efforts: Sequence[float] = (2, 4, 8)) -> None:
        self._text, self.efforts = text, efforts

    def build(self, vectors: Floats) -> None:
        """See `Peer`."""
        import faiss

        faiss.omp_set_num_threads(THREADS)
        self.vectors, lists = vectors, max(16, int(len(vectors) ** 0.5 / 2))
        text = self._text.format(lists=lists)
        self._index = faiss.index_factory(vectors.shape[1], text, faiss.METRIC_INNER_PRODUCT)
        self._index.train(vectors[:: max(1, len(vectors) // 50_000)])
        self._index.add(vectors)
        self._inverted = faiss.extract_index_ivf(self._index) if "IVF" in text else None
        self._lists = lists

    def nearest(self, query: Floats, count: int, effort: float) -> Places:
        """See `Peer`."""
        wide = count
        if self._inverted is not None:
            self._inverted.nprobe = int(self._lists * min(1, effort / 16))
            wide = 4 * count
        elif "HNSW" in self._text:
            self._index.hnsw.efSearch = int(effort * count)
            wide = 2 * count
        else:
            wide = int(effort * count)
        return self._index.search(query[None], wide)[1][0]


def _ids(count: int) -> NDArray[np.str_]:
    return np.char.mod("%08d", np.arange(count))


def _partitions(rows: int) -> int:
    return max(1, rows // 100_000)


PEERS: dict[str, tuple[str, Any]] = {
    "every product": ("numpy", Exact),
    "codes, in use": ("faiss", OwnCodes),
    "LanceDB IVF_RQ, in use on disk": ("lancedb", Lance),
    "LanceDB IVF_HNSW_SQ": (
        "lancedb",
        lambda: Lance(
            lambda n: HnswSq(distance_type="dot", num_partitions=_partitions(n)), (2, 4, 8)
        ),
    ),
    "LanceDB IVF_HNSW_PQ": (
        "lancedb",
        lambda: Lance(
            lambda n: HnswPq(distance_type="dot", num_partitions=_partitions(n)), (2, 4, 8)
        ),
    ),
    "faiss SQ8, all of them": ("faiss", lambda: Faiss("SQ8", (2,))),
    "faiss IVF, RaBitQ": ("faiss", lambda: Faiss("RR,IVF{lists},RaBitQfs", (4, 8, 16))),
    "faiss IVF, PQ256x4": ("faiss", lambda: Faiss("RR,IVF{lists},PQ256x4fs", (4, 8, 16))),
    "faiss PQ256x4": ("faiss", lambda: Faiss("RR,PQ256x4fs", (2, 4, 8))),
    "faiss HNSW32": ("faiss", lambda: Faiss("HNSW32", (2, 4, 8))),
    "faiss HNSW32, SQ8": ("faiss", lambda: Faiss("HNSW32_SQ8", (2, 4, 8))),
    "usearch, float16": ("usearch", lambda: Usearch("f16")),
    "usearch, int8": ("usearch", lambda: Usearch("i8")),
    "hnswlib": ("hnswlib", Hnswlib),
}
"""By name: the package that it needs, and what makes it."""


def installed(name: str) -> bool:
    """Whether a peer's package is there."""
    return find_spec(PEERS[name][0]) is not None
