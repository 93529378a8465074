"""The report of a benchmark: what `bench` returns and `bench.json` holds.

Times of searches are in milliseconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Literal

from itr_deploy.bundle.manifest import Precision, StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.record import Record, SparseRecord


class BenchedBundle(Record):
    """Which bundle searched.

    Attributes:
        path: Its directory, as it was given.
        family: The matcher's family.
        precision: Type of its matrix products.
        encoding_id: What its galleries are made with, a hexadecimal SHA-256.
    """

    path: str
    family: str
    precision: Precision
    encoding_id: str


class BenchedGallery(Record):
    """Which gallery was searched.

    Attributes:
        path: Its directory, as it was given; None for a synthetic one.
        modality: What its items are.
        items: How many it has.
        storage: Type that its tensors are stored as.
        resident: Whether they were in memory.
        stored_bytes: Their size.
    """

    path: str | None
    modality: Modality
    items: int
    storage: StorageType
    resident: bool
    stored_bytes: int

    @property
    def place(self) -> str:
        """Where its tensors were, for people."""
        return "in memory" if self.resident else "on disk"


class Machine(Record):
    """Where it ran.

    Attributes:
        system: The operating system, as Python's `platform` names it.
        processor: Kind of processor, for example ``"x86_64"``.
        cores: How many it has, None where the system does not say.
        python: Python's version.
    """

    system: str
    processor: str
    cores: int | None
    python: str


class Milliseconds(Record):
    """Many measurements of one thing, in milliseconds.

    Percentiles are interpolated between the measurements.
    """

    p50: float
    p95: float
    p99: float
    mean: float


class SearchFigures(Record):
    """What searches with one setting took.

    Attributes:
        batch: Queries a search.
        candidates: Items that the matcher scores a query, None for all of them.
        threads: Threads that computed on the CPU, None for one a core.
        backend: What ran the graphs.
        searches: How many searches were measured.
        pairs: Pairs that the matcher scored in each.
        milliseconds: Of every stage that a search came to, of the rest and of the total. The means
            of the stages and the rest add up to the total's.
        queries_per_second: Of whole searches.
        pairs_per_second: Of the matcher alone.
    """

    batch: int
    candidates: int | None
    threads: int | None
    backend: str
    searches: int
    pairs: int
    milliseconds: dict[str, Milliseconds]
    queries_per_second: float
    pairs_per_second: float

    @property
    def setting(self) -> str:
        """What its setting is called: batch, candidates and threads."""
        queries = "1 query" if self.batch == 1 else f"{self.batch} queries"
        width = "all items" if self.candidates is None else f"{self.candidates} candidates"
        threads = "" if self.threads is None else f", threads {self.threads}"
        return f"{queries}, {width}{threads}"


class PlainTimes(Record):
    """One query over all items, medians in milliseconds.

    Attributes:
        plain: The model in PyTorch, which encodes the items as well.
        search: A search with the first width.
        exhaustive: A search that scores every item.
    """

    plain: float
    search: float
    exhaustive: float


class PlainRatios(Record):
    """How many times as long the plain model takes as each of the searches."""

    search: float
    exhaustive: float


class PlainFigures(Record):
    """The plain model in PyTorch beside searches of the bundle.

    Attributes:
        backend: PyTorch's version and threads.
        items: Items that each query was compared with.
        rounds: How often each was timed.
        milliseconds: What they took.
        ratios: The plain model's time by theirs.
    """

    backend: str
    items: int
    rounds: int
    milliseconds: PlainTimes
    ratios: PlainRatios


class ColdStart(Record):
    """From nothing to the first hits, in fresh processes.

    Attributes:
        processes: How many were started.
        seconds: Median seconds of the import, of loading (nothing of a gallery is read yet), of the
            first search, and of all of them.
        hits: Hits of the search.
        peak_memory: Median of their peak memory in bytes, None where the system does not say.
    """

    processes: int
    seconds: dict[Literal["import", "load", "first_search", "total"], float]
    hits: int
    peak_memory: int | None


class OperatorFigures(Record):
    """All calls of one type of operator in a graph.

    Attributes:
        operator: The type.
        calls: How many there were.
        milliseconds: What they took together.
        share: Their share of the time of all operators, from 0 to 1.
    """

    operator: str
    calls: int
    milliseconds: float
    share: float


class Trace(Record):
    """ONNX Runtime's own profile.

    Attributes:
        searches: Searches that were profiled.
        operators: Of every graph of the matcher that they ran its operators, those that take the
            most time first.
    """

    searches: int
    operators: dict[str, tuple[OperatorFigures, ...]]


class BenchReport(SparseRecord):
    """What a benchmark found.

    ``model_dump_json()`` gives what `bench.json` holds, without the parts that were not asked for;
    ``BenchReport.model_validate_json(path.read_text())`` reads it.

    Attributes:
        bundle: Which bundle searched.
        gallery: Which gallery was searched.
        machine: Where it ran.
        query: What the queries are.
        rounds: Searches of every setting.
        k: Hits a query.
        rerank: Whether the hits were re-ranked.
        searches: Of every setting what its searches took.
        peak_memory: The process's peak memory in bytes with all of this, None where the system
            does not say.
        baseline: The plain model in PyTorch, None where it was not asked for.
        cold_start: From nothing to the first hits.
        trace: ONNX Runtime's profile, None where it was not asked for.
    """

    bundle: BenchedBundle
    gallery: BenchedGallery
    machine: Machine
    query: Modality
    rounds: int
    k: int
    rerank: bool
    searches: tuple[SearchFigures, ...]
    peak_memory: int | None
    baseline: PlainFigures | None = None
    cold_start: ColdStart
    trace: Trace | None = None
