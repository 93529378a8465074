"""`build_engine`: TensorRT engines from a bundle's graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import read_any_bundle
from itr_deploy.engines.files import EngineTarget, HardwareCompatibility
from itr_deploy.engines.library import default_target
from itr_deploy.engines.shapes import Overrides
from itr_deploy.values import FLAG, FUNCTION, PATH, TEXT, checked, choice, each, each_by_name, whole

if TYPE_CHECKING:
    from itr_deploy.engines.builder import BuiltEngines


@checked(
    bundle=PATH,
    target=choice(EngineTarget),
    precision=choice(Precision),
    graphs=each(TEXT),
    min_shapes=each_by_name(whole(1)),
    opt_shapes=each_by_name(whole(1)),
    max_shapes=each_by_name(whole(1)),
    workspace=whole(1),
    optimization_level=whole(0, 5),
    hardware_compatibility=choice(HardwareCompatibility),
    compute_capability=each(TEXT),
    timing_cache=PATH,
    version_compatible=FLAG,
    force=FLAG,
    progress=FUNCTION,
)
def build_engine(
    bundle: str | Path,
    *,
    target: EngineTarget | None = None,
    precision: Precision | None = None,
    graphs: Sequence[str] = (),
    min_shapes: Mapping[str, int] | None = None,
    opt_shapes: Mapping[str, int] | None = None,
    max_shapes: Mapping[str, int] | None = None,
    workspace: int | None = None,
    optimization_level: int | None = None,
    hardware_compatibility: HardwareCompatibility = "none",
    compute_capability: Sequence[str] = (),
    timing_cache: str | Path | None = None,
    version_compatible: bool = False,
    force: bool = False,
    progress: Callable[[str, str, int, int], None] = lambda graph, phase, done, total: None,
) -> BuiltEngines:
    """Build TensorRT engines from a bundle's graphs, in its directory ``engines/``.

    Engines that are up to date stay. The record is written after each engine, so that an
    interrupted call keeps the finished ones. TensorRT for RTX needs no GPU.

    Args:
        bundle: The bundle's directory; a region detector's too.
        target: Target of the engines; by default TensorRT if it is installed, else RTX.
        precision: The precision that the graphs must have; the engines' layers are inspected to
            prove it.
        graphs: Names of the graphs to build; by default all but those for int8 galleries.
        min_shapes: Smallest sizes by axis, such as ``{"candidates": 1}``.
        opt_shapes: Sizes that the engines are fastest at.
        max_shapes: Largest sizes.
        workspace: Bytes of scratch memory that a layer may take; by default no limit.
        optimization_level: 0 to 5, how long the builder searches; by default the library's level.
        hardware_compatibility: Which GPUs can run the engines besides those they are built for.
        compute_capability: GPUs to build for, such as ``"8.6"``; RTX only.
        timing_cache: File of timings to read and extend.
        version_compatible: Let later versions of the library load the engines too.
        force: Rebuild engines that are up to date.
        progress: Called with the graph, the phase of its build, the steps done and their total.

    Raises:
        BundleError: The bundle is damaged, quantised, or has another precision.
        EngineError: A graph is refused, or its engine does not have the bundle's precision.
        OutputError: An engine cannot be written; those before it stay.
        SetupError: The library is missing, or the GPU that it builds on.
        UsageError: The request names something that does not exist.
    """
    from itr_deploy.engines.builder import BuildRequest, build_engines
    from itr_deploy.engines.builder.build import BuildOptions

    request = BuildRequest(
        target=target or default_target(),
        graphs=tuple(graphs),
        precision=precision,
        capabilities=tuple(compute_capability),
        shapes=Overrides(dict(min_shapes or {}), dict(opt_shapes or {}), dict(max_shapes or {})),
        options=BuildOptions(
            optimization_level=optimization_level,
            workspace=workspace,
            hardware_compatibility=hardware_compatibility,
            version_compatible=version_compatible,
            timing_cache=None if timing_cache is None else Path(timing_cache),
        ),
        force=force,
    )
    return build_engines(read_any_bundle(Path(bundle)), request, progress)
