"""Bundles of the golden cases, and their matchers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Matcher
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.runtime import cpus
from itr_deploy.runtime.backends.importing import switch_telemetry_off
from tests.support import ray_cluster
from tests.support.exports import Bundles, cache_directory
from tests.support.golden import FULL, Case
from tests.support.stores import StoreServer, set_variables, store_server
from tests.support.tiny_detector import tiny_detector_of

# Tests import ONNX Runtime themselves, and make test says one thread of BLAS and PyTorch, while
# what runs on several threads of ours is to be tested.
switch_telemetry_off()
os.environ.setdefault(cpus.VARIABLE, "2")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Ctrl-C works as at a terminal, even if the tests were started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def bundles() -> Iterator[Bundles]:
    """Exports that the tests share; do not change them."""
    shared = Bundles(cache_directory())
    yield shared
    shared.check()


LONG = (
    "tests/test_readme.py",
    "tests/engines/builder/test_published_sizes.py",
    "tests/examples/test_shapes.py",
    "tests/cli/test_doctor.py",
)
"""Files that take minutes: started first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        file = item.nodeid.split("::")[0]
        return LONG.index(file) if file in LONG else len(LONG)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the files that use a cluster of Ray in one process, which starts it once."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "ray" if file in ray_cluster.FILES else file

    return Together(config, log)


@pytest.fixture(scope="session", name="ray_cluster")
def _ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One small cluster, to which this process is connected, see `running_cluster`."""
    yield from ray_cluster.running_cluster(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="session")
def bundle(bundles: Bundles) -> Path:
    """The bundle of the golden case with both branches; do not change it."""
    return bundles.path(FULL)


@pytest.fixture
def bundle_copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of `bundle` to damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def without_prefilter(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a family without prefilter and refiner would have it; do not change it."""
    copy = without_graphs(bundle, tmp_path_factory.mktemp("plain") / "bundle", "[pr]*fi*_to_*")
    manifest = read_bundle(copy).manifest
    write_manifest(copy, manifest.model_copy(update={"pipeline": Pipeline()}))
    return copy


@pytest.fixture(scope="session")
def without_int8(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as it was before there were int8 galleries; do not change it."""
    return without_graphs(bundle, tmp_path_factory.mktemp("older") / "bundle", "*_int8")


def without_graphs(bundle: Path, copy: Path, names: str) -> Path:
    """A copy of a bundle without the graphs that match a pattern."""
    shutil.copytree(bundle, copy)
    for path in (copy / "graphs").glob(f"{names}.onnx"):
        path.unlink()
    manifest = read_bundle(bundle).manifest
    graphs = {n: info for n, info in manifest.graphs.items() if (copy / info.file).exists()}
    changed = manifest.model_copy(update={"graphs": graphs, "files": list_files(copy)})
    write_manifest(copy, changed)
    return copy


@pytest.fixture(scope="session")
def detector_bundle(bundles: Bundles) -> Path:
    """The bundle of a tiny region detector; do not change it."""
    return tiny_detector_of(bundles)


@pytest.fixture(scope="session")
def matcher(bundle: Path) -> Matcher:
    return Matcher.load(bundle)


@pytest.fixture(scope="session")
def load_matcher(bundles: Bundles) -> Callable[..., Matcher]:
    """The matcher of a golden case's bundle, loaded once per session."""
    loaded: dict[tuple[str, ...], Matcher] = {}

    def load(case: Case, *options: str) -> Matcher:
        key = (case.name, *options)
        if key not in loaded:
            loaded[key] = Matcher.load(bundles.path(case, *options))
        return loaded[key]

    return load


@pytest.fixture(scope="session")
def store_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """An S3 server; `s3` is it with the variables that lead there."""
    with store_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def s3(store_process: StoreServer) -> Iterator[StoreServer]:
    """An S3 server that galleries lead to while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        set_variables(store_process, patch)
        yield store_process
