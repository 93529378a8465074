"""The engines of a bundle: which are built, for which GPUs, and where they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from itr_deploy.bundle.files import sha256_of, write_file
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.modality import ENCODERS
from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.builder.build import BuildOptions, Engine, EngineBuilder, sm_name
from itr_deploy.engines.cuda import CudaState, probe
from itr_deploy.engines.files import (
    RECORD,
    RTX_CAPABILITIES,
    EngineDirectory,
    EngineInfo,
    EngineRecord,
    EngineTarget,
    Fingerprint,
    GivenSizes,
    ShapeRange,
    built_by_default,
    check_engine_file,
    engine_directory,
    graph_digest,
    read_record,
    write_record,
)
from itr_deploy.engines.library import import_library
from itr_deploy.engines.shapes import Overrides, profile_of
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import BundleError, EngineError, ItrDeployError, SetupError, UsageError

Outcome = Literal["built", "up to date"]
BundleProgress = Callable[[str, str, int, int], None]
"""Called with the graph, the phase of its build, the steps done in it, and their total number."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build of a bundle.

    Attributes:
        target: Target of the engines.
        graphs: Names of graphs; empty for all but those for int8 galleries.
        precision: The precision that the bundle must have; None for any.
        capabilities: Compute capabilities to build for; empty for the default. RTX only.
        shapes: Sizes of axes in place of the defaults.
        options: How to build.
        force: Whether to rebuild engines that are up to date.
    """

    target: EngineTarget
    graphs: tuple[str, ...] = ()
    precision: Precision | None = None
    capabilities: tuple[str, ...] = ()
    shapes: Overrides = field(default_factory=Overrides)
    options: BuildOptions = field(default_factory=BuildOptions)
    force: bool = False


@dataclass(frozen=True)
class BuiltEngines:
    """The result of a build.

    Attributes:
        target: Target of the engines.
        directory: Where they are.
        version: Version of the library.
        outcomes: The outcome for every graph.
    """

    target: EngineTarget
    directory: EngineDirectory
    version: str
    outcomes: dict[str, Outcome]

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        engines = {
            graph: {"outcome": outcome, **self.directory.record.engines[graph].model_dump()}
            for graph, outcome in self.outcomes.items()
        }
        place = str(self.directory.path)
        return {
            "target": self.target,
            "directory": place,
            "version": self.version,
            "engines": engines,
        }


def build_engines(
    bundle: AnyBundle, request: BuildRequest, progress: BundleProgress
) -> BuiltEngines:
    """Build the engines of a bundle that are missing or out of date.

    The record is written after each engine, so that an interrupted run keeps the finished ones.

    Args:
        bundle: The bundle.
        request: What to build.
        progress: Called as each build advances.

    Raises:
        BundleError: The bundle is quantised, or its precision is not the requested one.
        EngineError: A graph is refused, or its engine does not have the bundle's precision.
        OutputError: An engine cannot be written; those before it stay.
        SetupError: The library is missing, or the GPU that it builds on.
        UsageError: The request names something that does not exist.
        KeyboardInterrupt: The build was interrupted; finished engines stay.
    """
    graphs = _graphs(bundle, request)
    _check_precision(bundle, request)
    request.shapes.check_axes(bundle.manifest, graphs)
    profiles = {name: profile_of(bundle.manifest, name, request.shapes) for name in graphs}
    trt, cuda = import_library(request.target), probe()
    capabilities = _capabilities(request, trt, cuda)
    builder = EngineBuilder(
        trt,
        request.target,
        bundle.manifest.precision,
        capabilities if request.target == "tensorrt-rtx" else (),
        bool(cuda.gpus),
        request.options,
    )
    place = _Place(bundle, request, capabilities)
    outcomes: dict[str, Outcome] = {}
    for name in graphs:
        wanted = _fingerprint(bundle, name, profiles[name], builder, capabilities, cuda.driver)
        if not request.force and place.has(name, wanted):
            outcomes[name] = "up to date"
            continue
        info = bundle.manifest.graphs[name]
        engine = builder.build(
            name,
            bundle.file(info.file),
            profiles[name],
            lambda *step, name=name: progress(name, *step),
            encodes=info.role in ENCODERS,
        )
        place.put(name, engine, wanted)
        outcomes[name] = "built"
    return BuiltEngines(request.target, place.directory, trt.__version__, outcomes)


class _Place:
    """The directory for the engines, and its record."""

    def __init__(
        self, bundle: AnyBundle, request: BuildRequest, capabilities: tuple[str, ...]
    ) -> None:
        label = "+".join(map(sm_name, capabilities))
        if request.options.hardware_compatibility == "ampere-plus":
            label = "ampere-plus"
        self._path = engine_directory(bundle, request.target, bundle.manifest.precision, label)
        given = {bound: dict(sizes) for bound, sizes in request.shapes.bounds()}
        self._given = GivenSizes.model_validate(given)

    @property
    def directory(self) -> EngineDirectory:
        there = (self._path / RECORD).is_file()
        record = read_record(self._path) if there else EngineRecord(engines={})
        return EngineDirectory(self._path, record)

    def has(self, graph: str, wanted: Fingerprint) -> bool:
        """Whether the graph's engine exists, is undamaged, and matches what is wanted."""
        directory = self.directory
        info = directory.record.engines.get(graph)
        # A newer driver runs engines built under an older one.
        if info is None or info.fingerprint != wanted.model_copy(
            update={"driver": info.fingerprint.driver}
        ):
            return False
        try:
            check_engine_file(directory, graph)
        except EngineError:
            return False
        return True

    def put(self, graph: str, engine: Engine, fingerprint: Fingerprint) -> None:
        """Write an engine, then the record: an engine exists once the record lists it."""
        file = self._path / f"{graph}.engine"
        write_file(file, engine.plan)
        info = EngineInfo(
            file=file.name,
            bytes=len(engine.plan),
            sha256=sha256_of(file),
            fingerprint=fingerprint,
            given=self._given,
            layers=engine.layers,
            matrix_layers=engine.matrix_layers,
            seconds=round(engine.seconds, 3),
        )
        try:
            engines = {**self.directory.record.engines, graph: info}
            write_record(self._path, EngineRecord(engines=engines))
        except ItrDeployError:
            file.unlink()
            raise


def _graphs(bundle: AnyBundle, request: BuildRequest) -> tuple[str, ...]:
    known = tuple(bundle.manifest.graphs)
    for name in request.graphs:
        if name not in known:
            raise UsageError(
                f"graphs={name!r} (--graphs): no such graph; {bundle.path} has {', '.join(known)}"
            )
        if bundle.manifest.graphs[name].is_for_cpu:
            raise UsageError(
                f"graphs={name!r} (--graphs): it multiplies bytes, which is for a CPU alone; "
                "leave it out"
            )
    return tuple(dict.fromkeys(request.graphs)) or built_by_default(bundle.manifest)


def _check_precision(bundle: AnyBundle, request: BuildRequest) -> None:
    own, quantization = bundle.manifest.precision, bundle.manifest.quantization
    if quantization is not None:
        raise BundleError(
            f"{bundle.path}: its matchers are {quantization}, which is for ONNX Runtime on a CPU; "
            "build engines from a bundle that was exported without quantize= (--quantize)"
        )
    if request.precision not in (None, own):
        raise BundleError(
            f"{bundle.path}: its graphs are {own}; an engine has its graphs' precision: "
            f"export it again with dtype={request.precision!r} (--dtype {request.precision})"
        )


def _capabilities(request: BuildRequest, trt: TensorRT, cuda: CudaState) -> tuple[str, ...]:
    """The compute capabilities that the engines are for."""
    if request.target == "tensorrt-rtx":
        known = sorted(_known_capabilities(trt), key=float)
        for capability in request.capabilities:
            if capability not in known:
                raise UsageError(
                    f"compute_capability={capability!r} (--compute-capability): {trt.__name__} "
                    f"{trt.__version__} builds for {', '.join(known)}"
                )
        return tuple(sorted({*request.capabilities} or RTX_CAPABILITIES, key=float))
    if request.capabilities:
        raise UsageError(
            "compute_capability= (--compute-capability) is for target='tensorrt-rtx' (--target); "
            "tensorrt builds for the GPU that is here"
        )
    if not cuda.gpus:
        raise SetupError(
            f"tensorrt builds on the GPU that its engines are for: {cuda.problem}; "
            "target='tensorrt-rtx' (--target tensorrt-rtx) needs none"
        )
    return (cuda.gpus[0].capability,)


def _known_capabilities(trt: TensorRT) -> list[str]:
    """The capabilities that the library can build for: ``"8.6"`` for ``SM86``."""
    names = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    return [f"{name[2:-1]}.{name[-1]}" for name in names]


def _fingerprint(
    bundle: AnyBundle,
    graph: str,
    profile: dict[str, ShapeRange],
    builder: EngineBuilder,
    capabilities: tuple[str, ...],
    driver: str | None,
) -> Fingerprint:
    options = builder.options
    return Fingerprint(
        target=builder.target,
        version=builder.trt.__version__,
        precision=builder.precision,
        capabilities=capabilities,
        hardware_compatibility=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        driver=driver,
        graph_sha256=graph_digest(bundle, graph),
        profile=profile,
        optimization_level=options.optimization_level,
        workspace=options.workspace,
    )
