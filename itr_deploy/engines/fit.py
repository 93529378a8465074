"""Whether an engine runs on this machine, and the command that builds one that does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.files import (
    RTX_CAPABILITIES,
    RTX_RUNS_ON,
    EngineDirectory,
    EngineInfo,
    EngineTarget,
    Fingerprint,
    graph_digest,
)
from itr_deploy.errors import EngineError


@dataclass(frozen=True)
class EngineHost:
    """The library, GPU and driver that are to run an engine.

    Attributes:
        version: Version of the library.
        capability: Compute capability of the GPU, such as ``"8.6"``.
        driver: Newest CUDA version that the driver supports, None without a driver.
    """

    version: str
    capability: str
    driver: str | None = None


def check_fit(bundle: AnyBundle, directory: EngineDirectory, graph: str, host: EngineHost) -> None:
    """Compare what an engine was built for with this machine, before it is loaded.

    Args:
        bundle: The bundle that the engine belongs to.
        directory: The engine's directory.
        graph: Its graph.
        host: What would run it.

    Raises:
        EngineError: The graph has no engine, or it does not fit; the message names what differs
            and the command that rebuilds it.
    """
    info = directory.record.engines.get(graph)
    if info is None:
        raise EngineError(f"{directory.path}: has no engine of {graph}; run {rebuild(bundle)}")
    made = info.fingerprint
    remedy = f"run {rebuild(bundle, info)}"
    if graph not in bundle.manifest.graphs:
        problem = "was built from a graph that the bundle no longer has"
    elif made.graph_sha256 != graph_digest(bundle, graph):
        problem = "was built from another version of the bundle's graph"
    elif not _loads(made, host.version):
        problem = f"was built by {made.target} {made.version}, here is {host.version}"
    elif not _runs_on(made, host.capability):
        built = ", ".join(made.capabilities)
        problem = f"was built for compute capability {built}, this GPU has {host.capability}"
        remedy = f"run {rebuild(bundle, info, gpus=(host.capability,))}"
    elif made.driver and host.driver and _numbers(made.driver)[0] > _numbers(host.driver)[0]:
        problem = f"was built under a driver for CUDA {made.driver}, here is one for {host.driver}"
        remedy = f"update the driver, or {remedy}"
    else:
        return
    raise EngineError(f"{directory.file(graph)}: {problem}; {remedy}")


def rebuild(
    bundle: AnyBundle,
    like: EngineInfo | None = None,
    target: EngineTarget | None = None,
    gpus: Sequence[str] = (),
) -> str:
    """The command that builds a bundle's engines, for a message.

    Args:
        bundle: The bundle.
        like: An engine whose options are kept.
        target: Target of the engines, if it is not that of ``like``.
        gpus: Compute capabilities they are to run on, if they are not those of ``like``.
    """
    words = ["itr-deploy", "build-engine", str(bundle.path)]
    if like is None:
        return shlex.join([*words, *(("--target", target) if target else ())])
    made = like.fingerprint
    target = target or made.target
    capabilities = [gpu for gpu in gpus if gpu in RTX_RUNS_ON] if gpus else made.capabilities
    if not capabilities:
        target = "tensorrt"
    words += ["--target", target]
    if target == "tensorrt-rtx" and set(capabilities) != set(RTX_CAPABILITIES):
        words += ["--compute-capability", ",".join(sorted(set(capabilities), key=float))]
    return shlex.join([*words, *_options(like)])


def _options(like: EngineInfo) -> Iterator[str]:
    """The options that the engine was built with, besides its target."""
    made = like.fingerprint
    if made.hardware_compatibility != "none":
        yield from ("--hardware-compatibility", made.hardware_compatibility)
    if made.version_compatible:
        yield "--version-compatible"
    if made.optimization_level is not None:
        yield from ("--optimization-level", str(made.optimization_level))
    if made.workspace is not None:
        yield from ("--workspace", str(made.workspace))
    for bound in ("min", "opt", "max"):
        sizes: dict[str, int] = getattr(like.given, bound)
        if sizes:
            given = (f"{axis}={size}" for axis, size in sizes.items())
            yield from (f"--{bound}-shapes", ",".join(given))


def _loads(made: Fingerprint, version: str) -> bool:
    """Whether a library loads an engine: the same version, or a later one of the same major."""
    if made.version == version:
        return True
    built, here = (_numbers(text) for text in (made.version, version))
    return made.version_compatible and built[0] == here[0] and built <= here


def _numbers(version: str) -> list[int]:
    """``"10.13.3.9"`` as numbers; suffixes such as that of ``"11.4.0.dev1"`` are dropped."""
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]


def _runs_on(made: Fingerprint, capability: str) -> bool:
    if made.hardware_compatibility == "ampere-plus":
        return _numbers(capability) >= [8, 0]
    return capability in made.capabilities
