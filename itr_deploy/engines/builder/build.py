"""Building one engine from one graph."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.builder.inspection import count_products, engine_layers
from itr_deploy.engines.builder.network import Parsed, parse_graph
from itr_deploy.engines.builder.products import products_of
from itr_deploy.engines.builder.progress import Cancellation, Progress, make_monitor
from itr_deploy.engines.builder.timing import TimingCache
from itr_deploy.engines.files import EngineTarget, HardwareCompatibility, ShapeRange
from itr_deploy.engines.library import Heard, hearing
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import EngineError


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built.

    Attributes:
        optimization_level: 0 to 5, how long the builder searches; None for its default.
        workspace: Bytes of scratch memory that a layer may take; None for no limit.
        hardware_compatibility: Which GPUs can run it besides those it is built for.
        version_compatible: Whether later versions of the library load it.
        timing_cache: File of timings to read and extend.
    """

    optimization_level: int | None = None
    workspace: int | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False
    timing_cache: Path | None = None


@dataclass(frozen=True)
class Engine:
    """A built engine: its plan, number of layers, matrix layers by type, and build seconds."""

    plan: bytes
    layers: int
    matrix_layers: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class EngineBuilder:
    """Builds engines with one library, for the same GPUs and with the same options.

    Attributes:
        trt: The library.
        target: Its target.
        precision: Precision of the graphs, which the engines must have.
        capabilities: Compute capabilities to build for; empty to build for this machine's GPU.
        has_gpu: Whether this machine has a GPU.
        options: How to build.
    """

    trt: TensorRT
    target: EngineTarget
    precision: Precision
    capabilities: tuple[str, ...]
    has_gpu: bool
    options: BuildOptions

    def build(
        self,
        graph: str,
        path: Path,
        profile: Mapping[str, ShapeRange],
        progress: Progress,
        *,
        encodes: bool = False,
    ) -> Engine:
        """Build the engine of a graph.

        Args:
            graph: Its name, for messages.
            path: Its ONNX file.
            profile: Shapes of every input.
            progress: Called as the build advances.
            encodes: Whether the graph is an encoder, see `count_products`.

        Raises:
            EngineError: The parser or the builder refuses, or the engine has another precision.
            OutputError: The timing cache cannot be written.
            KeyboardInterrupt: The build was interrupted and has stopped.
        """
        start = time.perf_counter()
        with hearing(self.trt) as heard:
            parsed = parse_graph(self.trt, path)
            if parsed.refusals:
                raise EngineError(self._refusal(graph, path, parsed))
            products = products_of(self.trt, parsed.network)
            config = self._config(parsed.builder, heard)
            self._add_profile(graph, parsed, config, profile)
            cache = TimingCache.attach(config, self._timings())
            cancellation = Cancellation()
            config.progress_monitor = make_monitor(self.trt, progress, cancellation)
            plan = cancellation.run(
                lambda: parsed.builder.build_serialized_network(parsed.network, config)
            )
            if plan is None:
                raise EngineError(f"{graph}: {self._name} cannot build its engine: {_last(heard)}")
            layers = engine_layers(self.trt, plan, heard, self.has_gpu)
            matrix_layers = count_products(graph, self.precision, layers, products, encodes=encodes)
            cache.save()
        return Engine(bytes(plan), len(layers), matrix_layers, time.perf_counter() - start)

    def _timings(self) -> Path | None:
        # TensorRT for RTX does not time layers; its timing caches are unused and deprecated.
        return None if self.target == "tensorrt-rtx" else self.options.timing_cache

    @property
    def _name(self) -> str:
        return f"{self.target} {self.trt.__version__}"

    def _config(self, builder: TensorRT.Builder, heard: Heard) -> TensorRT.IBuilderConfig:
        trt, options = self.trt, self.options
        config = builder.create_builder_config()
        # The layers' types are reported only at this verbosity.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        # TF32 products have float16's precision, but float32 in a graph must stay float32.
        config.clear_flag(trt.BuilderFlag.TF32)
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
            if self.target == "tensorrt-rtx":
                # Its library has no lean runtime to put into the engine.
                config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        config.hardware_compatibility_level = _level(trt, options.hardware_compatibility)
        if self.capabilities:
            self._set_capabilities(config, heard)
        return config

    def _set_capabilities(self, config: TensorRT.IBuilderConfig, heard: Heard) -> None:
        config.num_compute_capabilities = len(self.capabilities)
        for place, capability in enumerate(self.capabilities):
            value = getattr(self.trt.ComputeCapability, sm_name(capability).upper())
            if not config.set_compute_capability(value, place):
                raise EngineError(
                    f"{self._name} does not build for compute capability {capability}: "
                    f"{_last(heard)}"
                )

    def _add_profile(
        self,
        graph: str,
        parsed: Parsed,
        config: TensorRT.IBuilderConfig,
        profile: Mapping[str, ShapeRange],
    ) -> None:
        network = parsed.network
        inputs = {network.get_input(number).name for number in range(network.num_inputs)}
        if inputs != profile.keys():
            raise EngineError(
                f"{graph}: takes {', '.join(sorted(inputs))}, the manifest lists "
                f"{', '.join(sorted(profile))}; export the bundle again"
            )
        shapes = parsed.builder.create_optimization_profile()
        for name, sizes in profile.items():
            shapes.set_shape(name, sizes.min, sizes.opt, sizes.max)
        if config.add_optimization_profile(shapes) < 0:
            raise EngineError(f"{graph}: {self._name} does not take its profile {dict(profile)}")

    def _refusal(self, graph: str, path: Path, parsed: Parsed) -> str:
        """The parser's message; if onnx is installed, also the model's module and broken rules."""
        try:
            from itr_deploy.engines.preflight.parse import explain
        except ImportError:
            said = [f"{graph}: {r.operator} {r.node}: {r.problem}" for r in parsed.refusals]
            return f"{'; '.join(said)} (refused by {self._name})"
        return "; ".join(map(str, explain(graph, path, parsed.refusals, self.trt, self.target)))


def sm_name(capability: str) -> str:
    """``"sm86"`` for ``"8.6"``."""
    return f"sm{capability.replace('.', '')}"


def _level(trt: TensorRT, name: HardwareCompatibility) -> TensorRT.HardwareCompatibilityLevel:
    """A compatibility level; TensorRT 10.3 does not have all of them.

    Raises:
        EngineError: The library does not have this level.
    """
    known = trt.HardwareCompatibilityLevel.__members__
    level: TensorRT.HardwareCompatibilityLevel | None = known.get(name.upper().replace("-", "_"))
    if level is None:
        raise EngineError(
            f"{trt.__name__} {trt.__version__} has no hardware compatibility {name}; it has "
            f"{', '.join(sorted(entry.lower().replace('_', '-') for entry in known))}"
        )
    return level


def _last(heard: Heard) -> str:
    """The library's last messages, short enough for one line."""
    return " ... ".join(text[:400] for text in list(heard.errors)[-2:]) or "it does not say why"
