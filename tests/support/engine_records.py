"""Directories of engines with a real record and dummy plans."""

from __future__ import annotations

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.store import Bundle
from itr_deploy.engines.files import (
    EngineDirectory,
    EngineInfo,
    EngineRecord,
    Fingerprint,
    GivenSizes,
    ShapeRange,
    engine_directory,
    graph_digest,
    write_record,
)

GRAPH = "image_encoder"


def directory_of(
    bundle: Bundle, given: GivenSizes | None = None, **differing: object
) -> EngineDirectory:
    """A directory with an engine of RTX 1.7.1.116 for 8.0 and 8.6, with the given differences."""
    fingerprint = Fingerprint.model_validate(
        {
            "target": "tensorrt-rtx",
            "version": "1.7.1.116",
            "precision": "float32",
            "capabilities": ("8.0", "8.6"),
            "hardware_compatibility": "none",
            "version_compatible": False,
            "driver": None,
            "graph_sha256": graph_digest(bundle, GRAPH),
            "profile": {"regions": ShapeRange(min=(1, 36, 32), opt=(1, 36, 32), max=(8, 36, 32))},
            "optimization_level": None,
            "workspace": None,
            **differing,
        }
    )
    path = engine_directory(bundle, fingerprint.target, "float32", "sm80+sm86")
    path.mkdir(parents=True)
    file = path / f"{GRAPH}.engine"
    file.write_bytes(b"an engine")
    info = EngineInfo(
        file=file.name,
        bytes=file.stat().st_size,
        sha256=sha256_of(file),
        fingerprint=fingerprint,
        given=given or GivenSizes(),
        layers=12,
        matrix_layers={"float32": 2},
        seconds=0.5,
    )
    record = EngineRecord(engines={GRAPH: info})
    write_record(path, record)
    return EngineDirectory(path, record)
