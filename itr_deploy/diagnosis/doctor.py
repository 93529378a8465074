"""`doctor`: what this machine has, what actually loads, and the remedy for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itr_deploy.deploy.export_half import export_half
from itr_deploy.diagnosis.bundles import check_bundle
from itr_deploy.diagnosis.checks import (
    Check,
    check_cache,
    check_cpus,
    check_cuda,
    check_export_half,
    check_itr_deploy,
    check_library,
    check_onnxruntime,
    check_provider,
    check_python,
    check_telemetry,
)
from itr_deploy.diagnosis.machine import PROVIDERS, Machine
from itr_deploy.values import FLAG, FUNCTION, PATH, checked, each

if TYPE_CHECKING:
    from itr_deploy.diagnosis.selftest import Row


@dataclass(frozen=True)
class Diagnosis:
    """The findings of `doctor`.

    Attributes:
        checks: The checks, in order.
        self_test: The result of every backend; empty without a self-test.
    """

    checks: tuple[Check, ...]
    self_test: tuple[Row, ...] = ()

    @property
    def problems(self) -> int:
        """Number of checks and backends with a problem."""
        states = [check.state for check in self.checks] + [row.state for row in self.self_test]
        return states.count("problem")

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        found: dict[str, Any] = {"checks": [check.to_json() for check in self.checks]}
        if self.self_test:
            found["self_test"] = [row.to_json() for row in self.self_test]
        return {**found, "problems": self.problems}


@checked(
    bundles=each(PATH),
    self_test=FLAG,
    on_check=FUNCTION,
    progress=FUNCTION,
)
def doctor(
    *bundles: str | Path,
    self_test: bool = False,
    on_check: Callable[[Check], object] = lambda check: None,
    progress: Callable[[str], None] = lambda step: None,
) -> Diagnosis:
    """Examine this machine: what is installed, what actually loads, and remedies for the rest.

    A machine without a GPU is fine.

    Args:
        *bundles: Directories of bundles: whether each is undamaged, and which of its engines fit.
        self_test: Also export a small model and compare every available backend with PyTorch.
        on_check: Called with every check as it is made.
        progress: Called with the name of each step of the self-test as it begins.

    Raises:
        SetupError: PyTorch or onnx is not installed, for the self-test.
        ParityError: The self-test's bundle already differs from PyTorch on the CPU.
    """
    machine, checks = Machine(), []
    for check in examine(machine, map(Path, bundles)):
        on_check(check)
        checks.append(check)
    if not self_test:
        return Diagnosis(tuple(checks))
    progress("loading PyTorch")
    with export_half():
        from itr_deploy.diagnosis.selftest import self_test as run
    return Diagnosis(tuple(checks), tuple(run(machine, progress)))


def examine(machine: Machine, bundles: Iterable[Path] = ()) -> Iterator[Check]:
    """Examine the machine and bundles; each check is made when it is requested.

    Args:
        machine: The machine.
        bundles: Directories of bundles, to see which of their engines fit.
    """
    yield check_itr_deploy()
    yield check_python()
    yield check_cpus()
    yield check_onnxruntime(machine)
    if machine.providers:
        for provider in PROVIDERS:
            yield check_provider(machine, provider)
    yield check_telemetry()
    yield check_export_half()
    yield check_library(machine, "tensorrt")
    yield check_library(machine, "tensorrt-rtx")
    yield from check_cuda(machine)
    yield check_cache()
    for path in bundles:
        yield from check_bundle(machine, path)
