"""Engines built from a bundle's graphs: where they are, and what each was built from and for.

``engines/<target>-<precision>-<capability>/`` holds one file per graph and `RECORD`. A bundle's
manifest does not list them: an engine can always be rebuilt from the graphs, and belongs to one
machine. An engine's fingerprint says what it was built for; it is checked before loading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from itr_deploy.bundle.files import inside, sha256_of, write_json
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.modality import EXPLAIN
from itr_deploy.bundle.record import Record
from itr_deploy.bundle.store import ENGINES, AnyBundle, AnyManifest
from itr_deploy.errors import EngineError

RECORD = "engines.json"
ENGINE_SCHEMA: Literal[1] = 1

RTX_RUNS_ON = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities of the GPUs that TensorRT for RTX supports; Hopper is not among them."""
RTX_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
"""What TensorRT for RTX builds for by default: Ampere, Ada and Blackwell."""

EngineTarget = Literal["tensorrt", "tensorrt-rtx"]
HardwareCompatibility = Literal["none", "ampere-plus", "same-compute-capability"]
"""Which GPUs can run an engine besides those it is built for."""
Shape = tuple[int, ...]


class ShapeRange(Record):
    """The shapes that an engine accepts for one input, and the one it is fastest at."""

    min: Shape
    opt: Shape
    max: Shape


class Fingerprint(Record):
    """What decides whether an engine may be loaded, and whether it must be rebuilt.

    Attributes:
        target: The target whose runtime loads it.
        version: Version of the library that built it.
        precision: Precision of its matrix layers.
        capabilities: Compute capabilities of the GPUs that it runs on, such as ``"8.6"``.
        hardware_compatibility: The builder's level, ``"none"`` for these capabilities alone.
        version_compatible: Whether other versions of the library load it too.
        driver: CUDA version of the driver that it was built under, None without a GPU.
        graph_sha256: Checksum of the ONNX graph and the weights that it reads.
        profile: Shapes of every input.
        optimization_level: The builder's level, None for its default.
        workspace: Bytes of scratch memory it may take, None for no limit.
    """

    target: EngineTarget
    version: str
    precision: Precision
    capabilities: tuple[str, ...]
    hardware_compatibility: str
    version_compatible: bool
    driver: str | None
    graph_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    profile: dict[str, ShapeRange]
    optimization_level: int | None
    workspace: int | None


class GivenSizes(Record):
    """Sizes given for a build in place of the defaults, by axis."""

    min: dict[str, int] = Field(default_factory=dict)
    opt: dict[str, int] = Field(default_factory=dict)
    max: dict[str, int] = Field(default_factory=dict)


class EngineInfo(Record):
    """One engine.

    Attributes:
        file: Its file, relative to the directory of the record.
        bytes: Its size.
        sha256: Its checksum.
        fingerprint: What it was built from and for.
        given: Sizes of its profile that the user gave.
        layers: Number of layers after the builder's fusions.
        matrix_layers: Number of layers with matrix products, by the type they compute in.
        seconds: How long the build took.
    """

    file: str
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    fingerprint: Fingerprint
    given: GivenSizes = GivenSizes()
    layers: int
    matrix_layers: dict[str, int]
    seconds: float


class EngineRecord(Record):
    """The content of `RECORD`: engines by the name of their graph."""

    schema_version: Literal[1] = ENGINE_SCHEMA
    engines: dict[str, EngineInfo]


@dataclass(frozen=True)
class EngineDirectory:
    """A directory of engines and its record."""

    path: Path
    record: EngineRecord

    def file(self, graph: str) -> Path:
        """Path of a graph's engine."""
        return inside(self.path, self.record.engines[graph].file)


def engine_directory(
    bundle: AnyBundle, target: EngineTarget, precision: Precision, capability: str
) -> Path:
    """Directory of the engines for a capability, such as ``"sm86"``, or several joined."""
    return bundle.path.absolute() / ENGINES / f"{target}-{precision}-{capability}"


def graph_digest(bundle: AnyBundle, graph: str) -> str:
    """The ``graph_sha256`` that an engine must have, from the checksums of graph and weights."""
    files = bundle.manifest.files
    own = bundle.manifest.graphs[graph].file
    weights = sorted(name for name in files if name.endswith(".bin"))
    listed = [files[name].sha256 for name in (own, *weights)]
    return hashlib.sha256("".join(listed).encode()).hexdigest()


def built_by_default(manifest: AnyManifest) -> tuple[str, ...]:
    """The graphs built when none are named: all but those of 8 bits, and what explains.

    Those for int8 galleries are a third of the graphs that score pairs, and a GPU gains little from
    them. What explains does so a pair at a time, which takes a CPU a few milliseconds.
    """
    return tuple(
        name
        for name, graph in manifest.graphs.items()
        if graph.storage != "int8" and graph.role != EXPLAIN and not graph.is_for_cpu
    )


def engine_directories(bundle: AnyBundle) -> Iterator[EngineDirectory]:
    """Every directory of engines of a bundle, sorted by name.

    Raises:
        EngineError: A record cannot be read.
    """
    root = bundle.path.absolute() / ENGINES
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if (path / RECORD).is_file():
            yield EngineDirectory(path, read_record(path))


def read_record(path: Path) -> EngineRecord:
    """The record of a directory of engines.

    Raises:
        EngineError: The record cannot be read, or has a newer version.
    """
    file = path / RECORD
    try:
        content = json.loads(file.read_bytes())
        return EngineRecord.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise EngineError(
            f"{file}: cannot be read: {problem}; delete {path} and run itr-deploy build-engine"
        ) from error


def write_record(path: Path, record: EngineRecord) -> None:
    """Write the record of a directory of engines.

    Raises:
        OutputError: The record cannot be written.
    """
    write_json(path / RECORD, record.model_dump(mode="json"))


def check_engine_file(directory: EngineDirectory, graph: str) -> None:
    """Compare an engine's file with its record.

    Raises:
        EngineError: The file is missing or damaged.
    """
    info, path = directory.record.engines[graph], directory.file(graph)
    if not path.is_file():
        raise EngineError(f"{path}: is missing; run itr-deploy build-engine again")
    if path.stat().st_size != info.bytes or sha256_of(path) != info.sha256:
        raise EngineError(
            f"{path}: does not match its checksum, it was changed or damaged; "
            f"delete {directory.path} and run itr-deploy build-engine"
        )
