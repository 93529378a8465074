"""Checks of bundles: whether each is undamaged, and whether its engines fit this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from itr_deploy.bundle.store import AnyBundle, DetectorBundle, read_any_bundle
from itr_deploy.diagnosis.checks import NAMES, Check, install, problem_of
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.engines.files import EngineDirectory, check_engine_file, engine_directories
from itr_deploy.engines.fit import EngineHost, check_fit, rebuild
from itr_deploy.errors import BundleError, EngineError


def check_bundle(machine: Machine, path: Path) -> Iterator[Check]:
    """Check a bundle and the engines that were built from it."""
    try:
        bundle = read_any_bundle(path)
    except BundleError as error:
        yield problem_of("bundle", error)
        return
    if isinstance(bundle, DetectorBundle):
        made = f"region detector {bundle.manifest.dialect}, {bundle.manifest.precision}"
    else:
        front = bundle.manifest.front
        behind = "" if front is None else f" behind {front.family}"
        made = f"{bundle.manifest.family}{behind}, {bundle.manifest.matching}"
    found = f"{made}, {len(bundle.manifest.graphs)} graphs, checksums fit"
    yield Check(f"bundle {path}", "ok", found)
    try:
        for directory in engine_directories(bundle):
            yield _check_engines(machine, bundle, directory)
    except EngineError as error:
        yield problem_of("engines", error)


def _check_engines(machine: Machine, bundle: AnyBundle, directory: EngineDirectory) -> Check:
    name = f"engines {directory.path}"
    engines = directory.record.engines
    if not engines:
        return Check(name, "info", "none in it")
    # One build wrote them all, so one stands for all.
    one = next(iter(engines.values()))
    built = one.fingerprint
    remedy = rebuild(bundle, one, gpus=[gpu.capability for gpu in machine.cuda.gpus])
    said = f"{len(engines)} for {NAMES[built.target]} {built.version}, {built.precision}"
    said = f"{said}, capability {' or '.join(built.capabilities)}"
    library = machine.library(built.target)
    if library is None or library.answer is None:
        found = f"{said}; {NAMES[built.target]} is not there to load them"
        return Check(name, "missing", found, install(built.target))
    gpus = sorted({gpu.capability for gpu in machine.cuda.gpus})
    tried = [
        _unfit(bundle, directory, EngineHost(library.answer, capability, machine.cuda.driver))
        for capability in gpus or built.capabilities[:1]
    ]
    if None in tried:
        here = "fits" if gpus else "fits the bundle and the library; no GPU here to run on"
        return Check(name, "ok" if gpus else "info", f"{said}: {here}")
    if gpus and not set(gpus) & set(built.capabilities) and built.hardware_compatibility == "none":
        found = f"{said}: for other GPUs than those here, {' and '.join(gpus)}"
        return Check(name, "info", found, remedy)
    return Check(name, "problem", f"{said}: {tried[0]}", remedy)


def _unfit(bundle: AnyBundle, directory: EngineDirectory, host: EngineHost) -> str | None:
    """Why this host cannot run the engines; None if it can."""
    try:
        for graph in directory.record.engines:
            check_fit(bundle, directory, graph, host)
            check_engine_file(directory, graph)
    except EngineError as error:
        return str(error).partition("; ")[0]
    return None
