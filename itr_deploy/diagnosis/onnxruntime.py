"""Checks of ONNX Runtime: one build of it, and the providers that truly load."""

from __future__ import annotations

from importlib.metadata import packages_distributions

from itr_deploy.diagnosis.checks import Check
from itr_deploy.diagnosis.libraries import installed
from itr_deploy.diagnosis.machine import Machine

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = (CPU, CUDA, TENSORRT)
"""Those that a backend of ours uses."""

INSTALL = "pip install 'itr-deploy[cpu]' (or 'itr-deploy[gpu]' on a machine with an NVIDIA GPU)"
TENSORRT_10 = "pip install 'tensorrt>=10.3,<11'"


def check_onnxruntime(machine: Machine) -> Check:
    """Which build is installed; two of them overwrite each other's files."""
    builds = {name: installed(name) for name in packages_distributions().get("onnxruntime", ())}
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


def check_provider(machine: Machine, provider: str) -> Check:
    """A provider that a backend of ours uses, started on a small graph."""
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
    mend = "pip install 'onnxruntime-gpu[cuda,cudnn]', or install the library it names"
    return Check(provider, "problem", f"does not load: {problem}", mend)


def _not_listed(machine: Machine, provider: str) -> Check:
    found = "not in this onnxruntime"
    if provider == CPU:
        return Check(provider, "problem", found, INSTALL)
    if not machine.cuda.gpus:
        return Check(provider, "info", f"{found}; it is for GPUs")
    mend = "pip uninstall onnxruntime, then pip install 'itr-deploy[gpu]'"
    return Check(provider, "missing", found, mend)


def _without_tensorrt(problem: str) -> Check:
    """Builds for GPUs list the provider, whether or not its libraries are installed."""
    version = installed("tensorrt")
    if version is None:
        found = f"does not load without the libraries of TensorRT 10: {problem}"
        return Check(TENSORRT, "missing", found, TENSORRT_10)
    if not version.startswith("10."):
        found = f"needs the libraries of TensorRT 10, which TensorRT {version} is not: {problem}"
        mend = f"{TENSORRT_10}, or use TensorRT's own engines (itr-deploy build-engine)"
        return Check(TENSORRT, "missing", found, mend)
    return Check(TENSORRT, "problem", f"does not load: {problem}", "install the library it names")
