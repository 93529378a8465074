from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Matcher, UsageError
from itr_deploy.runtime import cpus
from itr_deploy.runtime.cpus import available_cores, cpu_quota, default_threads
from tests.support.command import itr_deploy, python


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (cpus.VARIABLE, cpus.OPENMP):
        monkeypatch.delenv(name, raising=False)


def machine(root: Path, cgroup: str, limits: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in limits.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/system.slice\n"


@pytest.mark.parametrize(
    ("cgroup", "limits", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/pods/one\n", {"pods/cpu.max": "50000 100000", "pods/one/cpu.max": "max 100000"}, 0.5),
        ("0::/host/path\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../../elsewhere\n", {"cpu.max": "200000 100000"}, 2.0),
        (V1, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        (
            V1,
            {
                "cpu/docker/abc/cpu.cfs_quota_us": "30000",
                "cpu/docker/abc/cpu.cfs_period_us": "100000",
            },
            0.3,
        ),
        ("0::/\n", {"cpu.max": "many\n"}, None),
        ("nonsense", {}, None),
    ],
)
def test_the_quota_is_the_least_of_the_cgroups(
    cgroup: str, limits: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert cpu_quota(machine(tmp_path, cgroup, limits)) == quota


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(0.3, 1), (1.5, 2), (8.0, 4), (None, 4)])
def test_as_many_threads_as_affinity_and_quota_allow(
    quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cpus, "allowed_cores", lambda: 4)
    assert available_cores() == default_threads() == cores


def test_the_users_variables_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpus.OPENMP, "3,2")
    assert default_threads() == 3
    monkeypatch.setenv(cpus.VARIABLE, "7")
    assert default_threads() == 7


@pytest.mark.parametrize("wrong", ["0", "-2", "two", "1.5", "1025", "9999999999"])
def test_a_number_of_threads_that_is_none_is_refused_in_one_line(
    wrong: str, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    monkeypatch.setenv(cpus.VARIABLE, wrong)
    with pytest.raises(UsageError, match=f"ITR_DEPLOY_THREADS='{wrong}' must be a whole number"):
        Matcher.load(bundle)
    monkeypatch.delenv(cpus.VARIABLE)
    outcome = itr_deploy("search", bundle, "a", "--gallery", "g", "--threads", wrong)
    assert outcome.code == 2
    assert "--threads" in outcome.error
    assert wrong in outcome.error


def test_openmps_variable_is_ignored_where_it_is_no_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(cpus.OPENMP, "lots")
    assert default_threads() == available_cores()
    assert "OMP_NUM_THREADS='lots'" in caplog.text


def test_the_matcher_computes_on_the_default_threads(
    monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    monkeypatch.setenv(cpus.OPENMP, "5")
    assert Matcher.load(bundle).backend.workers == 5
    assert Matcher.load(bundle, threads=2).backend.workers == 2


TORCH = """
import sys
from itr_deploy.deploy.export_half import export_half
with export_half():
    import torch
print(torch.get_num_threads())
"""


@pytest.mark.parametrize(("variable", "threads"), [(cpus.VARIABLE, "3"), (cpus.OPENMP, "2")])
def test_pytorch_computes_on_as_many_threads(variable: str, threads: str) -> None:
    pytest.importorskip("torch")
    assert python(TORCH, env={variable: threads}).out.split() == [threads]
