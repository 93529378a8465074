"""The checks of this machine, each a line of the doctor: what was found, and its remedy."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import distribution, packages_distributions
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal

from itr_deploy.diagnosis.machine import CPU, TENSORRT, Machine, installed
from itr_deploy.engines.files import EngineTarget
from itr_deploy.errors import ItrDeployError, UsageError
from itr_deploy.runtime.backends.cache import VARIABLE, cache_directory
from itr_deploy.runtime.backends.importing import TELEMETRY, telemetry_wanted
from itr_deploy.runtime.cpus import OPENMP, allowed_cores, cpu_quota, default_threads
from itr_deploy.runtime.cpus import VARIABLE as THREADS

LEAST = (3, 10)
EXPORT_HALF = ("torch", "onnx", "onnxscript", "transformers")
INSTALL = "pip install 'itr-deploy[cpu]' (or 'itr-deploy[gpu]' on a machine with an NVIDIA GPU)"
TENSORRT_10 = "pip install 'tensorrt>=10.3,<11'"
NAMES: dict[EngineTarget, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}

State = Literal["ok", "info", "missing", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes:
        name: What was checked.
        state: ``ok``; ``info`` for what is good to know; ``missing`` for what is absent and only
            some users need; ``problem`` for what does not work as it is.
        found: What was found.
        remedy: What to do about it, None if nothing needs doing.
    """

    name: str
    state: State
    found: str
    remedy: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """JSON values for a report."""
        return asdict(self)

    def __str__(self) -> str:
        remedy = "" if self.remedy is None else f"; {self.remedy}"
        return f"{self.name}: {self.found}{remedy}"


def problem_of(name: str, error: ItrDeployError) -> Check:
    """A problem made from an error's message: first what is wrong, then its remedy."""
    found, _, remedy = str(error).partition("; ")
    return Check(name, "problem", found, remedy or None)


def check_itr_deploy() -> Check:
    """The version of this package."""
    return Check("itr-deploy", "ok", version_of("itr-deploy"))


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python's version and platform."""
    number = ".".join(map(str, version))
    found = f"{number} on {platform.system()} {platform.machine()}"
    if version < LEAST:
        least = ".".join(map(str, LEAST))
        return Check("Python", "problem", f"{found} is too old", f"install Python {least} or newer")
    return Check("Python", "ok", found)


def check_cpus() -> Check:
    """The cores there are, what limits their use, and how many threads compute by default."""
    quota = cpu_quota()
    cores = f"{allowed_cores()} cores by affinity"
    limit = "no quota" if quota is None else f"a quota of {quota:g}"
    chosen = [f" ({name}={os.environ[name]})" for name in (THREADS, OPENMP) if os.environ.get(name)]
    try:
        threads = default_threads()
    except UsageError as error:
        return problem_of("CPU", error)
    by = "".join(chosen[:1])
    return Check("CPU", "ok", f"{cores}, {limit}; {threads} threads by default{by}")


def check_telemetry() -> Check:
    """Whether ONNX Runtime collects events, and by whose decision; nothing else calls home."""
    if telemetry_wanted():
        chosen = next(name for name in TELEMETRY if name in os.environ)
        found = f"onnxruntime's is on, as {chosen}={os.environ[chosen]} asks"
        return Check("telemetry", "info", found, f"unset {chosen} to have it off")
    return Check("telemetry", "ok", "off: onnxruntime's is switched off before it is imported")


def check_export_half() -> Check:
    """The packages that exporting needs and searching does not."""
    versions = {name: installed(name) for name in EXPORT_HALF}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        return Check(
            "export half",
            "info",
            f"{', '.join(absent)} not installed (only needed to export)",
            "to export: pip install 'itr-deploy[export]'",
        )
    return Check("export half", "ok", ", ".join(f"{n} {v}" for n, v in versions.items()))


def check_onnxruntime(machine: Machine) -> Check:
    """Which build of ONNX Runtime is installed; two in a directory overwrite each other's files.

    Of builds in several directories, as an environment on top of another has them, the first on
    Python's path is the one that is imported.
    """
    places = _onnxruntimes()
    builds = next((there for there in places if len(there) > 1), places[0] if places else {})
    names = " and ".join(f"{name} {version}" for name, version in sorted(builds.items()))
    if len(builds) > 1:
        return Check(
            "onnxruntime",
            "problem",
            f"{names} are installed together and overwrite each other's files",
            f"pip uninstall {' '.join(sorted(builds))}, then {INSTALL}",
        )
    told = machine.onnxruntime
    if told is None:
        return Check("onnxruntime", "problem", "not installed", INSTALL)
    if told.answer is None:
        again = f"pip uninstall {' '.join(builds) or 'onnxruntime'}, then {INSTALL}"
        return Check("onnxruntime", "problem", f"does not load: {told.problem}", again)
    return Check("onnxruntime", "ok", names or f"{told.answer['version']}, not installed by pip")


def _onnxruntimes() -> list[dict[str, str]]:
    """Versions of ONNX Runtime's builds by name, for each directory, in the order of the path."""
    places: dict[str, dict[str, str]] = {}
    for name in packages_distributions().get("onnxruntime", ()):
        build = distribution(name)
        places.setdefault(str(build.locate_file("")), {})[name] = build.version
    return list(places.values())


def check_provider(machine: Machine, provider: str) -> Check:
    """A provider that one of our backends uses, started on a small graph."""
    if provider not in machine.providers:
        return _not_listed(machine, provider)
    problem = machine.why_not_started(provider)
    if problem is None:
        return Check(provider, "ok", "loads and computes")
    if provider == CPU:
        again = f"install onnxruntime again: {INSTALL}"
        return Check(provider, "problem", f"does not load: {problem}", again)
    if machine.no_gpu is not None:
        return Check(provider, "info", f"has no GPU to run on: {problem}")
    if provider == TENSORRT:
        return _without_tensorrt(problem)
    remedy = "pip install 'onnxruntime-gpu[cuda,cudnn]', or install the library it names"
    return Check(provider, "problem", f"does not load: {problem}", remedy)


def _not_listed(machine: Machine, provider: str) -> Check:
    found = "not in this onnxruntime"
    if provider == CPU:
        return Check(provider, "problem", found, INSTALL)
    if not machine.cuda.gpus:
        return Check(provider, "info", f"{found}; it is for GPUs")
    remedy = "pip uninstall onnxruntime, then pip install 'itr-deploy[gpu]'"
    return Check(provider, "missing", found, remedy)


def _without_tensorrt(problem: str) -> Check:
    """The check if TensorRT is missing: GPU builds list the provider even without its libraries."""
    version = installed("tensorrt")
    if version is None:
        found = f"does not load without the libraries of TensorRT 10: {problem}"
        return Check(TENSORRT, "missing", found, TENSORRT_10)
    if not version.startswith("10."):
        found = f"needs the libraries of TensorRT 10, which TensorRT {version} is not: {problem}"
        remedy = f"{TENSORRT_10}, or use TensorRT's own engines (itr-deploy build-engine)"
        return Check(TENSORRT, "missing", found, remedy)
    return Check(TENSORRT, "problem", f"does not load: {problem}", "install the library it names")


def check_library(machine: Machine, target: EngineTarget) -> Check:
    """The version of a target's library."""
    tried = machine.library(target)
    if tried is None:
        found = "not installed (only needed to build and run its engines)"
        return Check(NAMES[target], "missing", found, install(target))
    if tried.answer is None:
        remedy = f"pip uninstall {target}, then {install(target)}"
        return Check(NAMES[target], "problem", f"does not load: {tried.problem}", remedy)
    return Check(NAMES[target], "ok", tried.answer)


def install(target: EngineTarget) -> str:
    """The command that installs a target's library."""
    return f"pip install 'itr-deploy[{target}]'"


def check_cuda(machine: Machine) -> Iterator[Check]:
    """The CUDA driver and GPUs; a machine without a GPU is fine too."""
    bindings = installed("cuda-bindings")
    if bindings is None:
        remedy = "pip install cuda-bindings"
        found = "not installed; without it nothing is known of GPUs"
        yield Check("cuda-bindings", "missing", found, remedy)
        return
    yield Check("cuda-bindings", "ok", bindings)
    state = machine.cuda
    if state.fails:
        remedy = "restart the machine, or install NVIDIA's driver again"
        yield Check("CUDA driver", "problem", f"{state.problem}", remedy)
        return
    if state.problem is not None:
        reason = state.problem.rstrip(".")
        yield Check("GPU", "info", f"no GPU: {reason}; searches run on the CPU")
        return
    yield Check("CUDA driver", "ok", f"serves CUDA {state.driver}")
    for number, gpu in enumerate(state.gpus):
        found = f"{gpu.name}, capability {gpu.capability}, {in_words(gpu.memory)}"
        yield Check(f"GPU {number}", "ok", found)


def check_cache() -> Check:
    """The cache's location and size, and whether it can be written. It is not created."""
    name, path = "cache directory", cache_directory()
    try:
        # Permissions do not reveal a read-only or full disk; writing a file does.
        with tempfile.TemporaryFile(dir=_nearest(path)) as file:
            file.write(b"\0")
    except OSError as error:
        found = f"{path} cannot be written: {error.strerror or error}"
        return Check(name, "problem", found, f"set {VARIABLE} to a directory that can be")
    return Check(name, "ok", f"{path}, {in_words(_size(path))}")


def _nearest(path: Path) -> Path:
    """The path, or the nearest existing directory above it."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def in_words(size: int) -> str:
    """A number of bytes in human-readable form."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.1f} {unit}"
    return f"{size} bytes"
