"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from itr_deploy.diagnosis.cache import check_cache
from itr_deploy.diagnosis.checks import Check
from itr_deploy.diagnosis.cuda import check_cuda
from itr_deploy.diagnosis.engines import check_bundle
from itr_deploy.diagnosis.machine import Machine
from itr_deploy.diagnosis.onnxruntime import PROVIDERS, check_onnxruntime, check_provider
from itr_deploy.diagnosis.python import check_export_half, check_itr_deploy, check_python
from itr_deploy.diagnosis.tensorrt import check_library


def examine(machine: Machine, bundles: Iterable[Path] = ()) -> Iterator[Check]:
    """Look at the machine and at bundles; each check is made when it is asked for.

    Args:
        machine: What there is.
        bundles: Directories of bundles, to see which of their engines fit.
    """
    yield check_itr_deploy()
    yield check_python()
    yield check_onnxruntime(machine)
    if machine.providers:
        for provider in PROVIDERS:
            yield check_provider(machine, provider)
    yield check_export_half()
    yield check_library(machine, "tensorrt")
    yield check_library(machine, "tensorrt-rtx")
    yield from check_cuda(machine)
    yield check_cache()
    for path in bundles:
        yield from check_bundle(machine, path)
