"""The report of a benchmark: what `bench` returns and `bench.json` holds.

Search times are in milliseconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Literal

from itr_deploy.bundle.manifest import Precision, StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.record import Record, SparseRecord


class BenchedBundle(Record):
    """Which bundle was benchmarked.

    Attributes:
        path: Its directory, as it was given.
        family: The matcher's family.
        precision: Type of its matrix products.
        encoding_id: Identifies the encoding of its galleries, a hexadecimal SHA-256.
    """

    path: str
    family: str
    precision: Precision
    encoding_id: str


class BenchedGallery(SparseRecord):
    """Which gallery was searched.

    Attributes:
        path: Its directory, as it was given; None for a synthetic one.
        modality: What its items are.
        items: Number of items.
        storage: Type as which its tensors are stored.
        resident: Whether the tensors were in memory.
        stored_bytes: Their size.
        files: Files on disk, of all versions. An earlier release's report lacks this and the next.
        versions: Versions that are kept.
        fragments: Parts in which the items are stored.
        deleted_share: Part of what they hold that is deleted.
    """

    path: str | None
    modality: Modality
    items: int
    storage: StorageType
    resident: bool
    stored_bytes: int
    files: int | None = None
    versions: int | None = None
    fragments: int | None = None
    deleted_share: float | None = None

    @property
    def place(self) -> str:
        """Where its tensors were, in words."""
        return "in memory" if self.resident else "on disk"


class Machine(Record):
    """The machine on which the benchmark ran.

    Attributes:
        system: The operating system, as Python's `platform` names it.
        processor: Kind of processor, for example ``"x86_64"``.
        cores: Number of cores, None if the system does not report it.
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
    """How long searches with one setting took.

    Attributes:
        batch: Queries per search.
        candidates: Items that the matcher scores per query, None for all of them.
        threads: Threads that computed on the CPU, None for one per core.
        backend: What ran the graphs.
        searches: Number of searches that were measured.
        pairs: Pairs that the matcher scored in each.
        milliseconds: Times of every stage that a search reached, of the rest and of the total. The
            means of the stages and of the rest add up to the total's mean.
        queries_per_second: Throughput of whole searches.
        pairs_per_second: Throughput of the matcher alone.
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
        """The name of its setting: batch, candidates and threads."""
        queries = "1 query" if self.batch == 1 else f"{self.batch} queries"
        width = "all items" if self.candidates is None else f"{self.candidates} candidates"
        threads = "" if self.threads is None else f", threads {self.threads}"
        return f"{queries}, {width}{threads}"


class PlainTimes(Record):
    """One query over all items, medians in milliseconds.

    Attributes:
        plain: The model in PyTorch, which also encodes the items.
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
    """The plain model in PyTorch compared with searches of the bundle.

    Attributes:
        backend: PyTorch's version and threads.
        items: Items that each query was compared with.
        rounds: How often each was timed.
        milliseconds: The times.
        ratios: The plain model's time divided by each search's.
    """

    backend: str
    items: int
    rounds: int
    milliseconds: PlainTimes
    ratios: PlainRatios


class ColdStart(Record):
    """From nothing to the first hits, in fresh processes.

    Attributes:
        processes: Number of processes that were started.
        seconds: Median seconds of the import, of loading (which reads nothing of a gallery), of the
            first search, and of all three together.
        hits: Number of hits of the search.
        peak_memory: Median of their peak memory in bytes, None if the system does not report it.
    """

    processes: int
    seconds: dict[Literal["import", "load", "first_search", "total"], float]
    hits: int
    peak_memory: int | None


class OperatorFigures(Record):
    """All calls of one type of operator in a graph.

    Attributes:
        operator: The type.
        calls: Number of calls.
        milliseconds: Their time in total.
        share: Their share of the time of all operators, from 0 to 1.
    """

    operator: str
    calls: int
    milliseconds: float
    share: float


class Trace(Record):
    """ONNX Runtime's own profile.

    Attributes:
        searches: Number of searches that were profiled.
        operators: The operators of every matcher graph that was run, by graph, those that take the
            most time first.
    """

    searches: int
    operators: dict[str, tuple[OperatorFigures, ...]]


class BenchReport(SparseRecord):
    """What a benchmark found.

    ``model_dump_json()`` returns what `bench.json` holds, without the parts that were not
    requested; ``BenchReport.model_validate_json(path.read_text())`` reads it.

    Attributes:
        bundle: Which bundle was benchmarked.
        gallery: Which gallery was searched.
        machine: The machine on which it ran.
        query: Modality of the queries.
        rounds: Searches with every setting.
        k: Hits per query.
        rerank: Whether the hits were re-ranked.
        searches: The times of searches with every setting.
        peak_memory: The process's peak memory in bytes after these searches, None if the system
            does not report it.
        baseline: The plain model in PyTorch, None if not requested.
        cold_start: From nothing to the first hits.
        trace: ONNX Runtime's profile, None if not requested.
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
