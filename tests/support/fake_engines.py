"""Engines of a bundle for the stand-in for TensorRT, with a real record and fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.manifest import TensorInfo
from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.files import (
    EngineInfo,
    EngineRecord,
    EngineTarget,
    Fingerprint,
    ShapeRange,
    engine_directory,
    graph_digest,
    write_record,
)
from tests.support.fake_tensorrt import write_plan

SIZES = {"batch": 64, "queries": 64, "groups": 64, "candidates": 256, "gallery": 256}
SIZES |= {"length": 32, "regions": 36}


def write_engines(
    path: Path,
    version: str,
    sizes: Mapping[str, int] | None = None,
    graphs: Iterable[str] | None = None,
    capability: str = "8.6",
    plan: Mapping[str, Any] | None = None,
) -> Path:
    """Write engines of a bundle's graphs for axes from 1 to ``sizes``; returns their directory.

    ``plan`` goes into the engine files, see `write_plan`.
    """
    bundle = read_bundle(path)
    target: EngineTarget = "tensorrt-rtx" if version.startswith("rtx") else "tensorrt"
    output = engine_directory(bundle, target, "float32", f"sm{capability.replace('.', '')}")
    output.mkdir(parents=True, exist_ok=True)
    known = {**SIZES, **(sizes or {})}
    infos = {}
    for name in graphs or bundle.manifest.graphs:
        graph = bundle.manifest.graphs[name]
        profile = {entry.name: _range(entry, known) for entry in graph.inputs}
        file = output / f"{name}.engine"
        shapes = {key: (r.min, r.opt, r.max) for key, r in profile.items()}
        write_plan(file, bundle.file(graph.file), version, shapes, plan)
        infos[name] = EngineInfo(
            file=file.name,
            bytes=file.stat().st_size,
            sha256=sha256_of(file),
            fingerprint=Fingerprint(
                target=target,
                version=f"{version.removeprefix('rtx-')}.0",
                precision="float32",
                capabilities=(capability,),
                hardware_compatibility="none",
                version_compatible=bool(plan and plan.get("lean")),
                driver=None,
                graph_sha256=graph_digest(bundle, name),
                profile=profile,
                optimization_level=None,
                workspace=None,
            ),
            layers=1,
            matrix_layers={},
            seconds=0.0,
        )
    write_record(output, EngineRecord(engines=infos))
    return output


def _range(entry: TensorInfo, sizes: Mapping[str, int]) -> ShapeRange:
    least = tuple(1 if isinstance(axis, str) else axis for axis in entry.shape)
    most = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in entry.shape)
    return ShapeRange(min=least, opt=most, max=most)
