"""Whether an engine runs on this machine, and the command that builds one that does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from itr_deploy.bundle.manifest import FileInfo
from itr_deploy.bundle.store import Bundle
from itr_deploy.engines.files import EngineDirectory, GivenSizes
from itr_deploy.engines.fit import EngineHost, check_fit
from itr_deploy.errors import EngineError
from tests.support.engine_records import GRAPH, directory_of

HERE = EngineHost("1.7.1.116", "8.6")


def fits(bundle: Bundle, directory: EngineDirectory, **here: str) -> None:
    check_fit(bundle, directory, GRAPH, replace(HERE, **here))


def test_an_engine_fits_the_library_the_gpu_and_the_graph_it_was_built_for(opened: Bundle) -> None:
    fits(opened, directory_of(opened))


def test_another_version_of_the_library_names_the_command_that_rebuilds(opened: Bundle) -> None:
    made = directory_of(opened)
    with pytest.raises(EngineError) as caught:
        fits(opened, made, version="1.8.0.1")
    assert str(caught.value) == (
        f"{made.file(GRAPH)}: was built by tensorrt-rtx 1.7.1.116, here is 1.8.0.1; "
        f"run itr-deploy build-engine {opened.path} --target tensorrt-rtx "
        "--compute-capability 8.0,8.6"
    )


@pytest.mark.parametrize(
    ("version", "fit"), [("1.7.2", True), ("1.10.0.1", True), ("1.7.0.99", False), ("2.0", False)]
)
def test_a_version_compatible_engine_loads_in_later_versions_alone(
    opened: Bundle, version: str, fit: bool
) -> None:
    made = directory_of(opened, version_compatible=True)
    if fit:
        fits(opened, made, version=version)
    else:
        with pytest.raises(EngineError, match=f"here is {version}"):
            fits(opened, made, version=version)


def test_another_gpu_names_both_capabilities(opened: Bundle) -> None:
    with pytest.raises(EngineError) as caught:
        fits(opened, directory_of(opened), capability="12.0")
    assert "was built for compute capability 8.0, 8.6, this GPU has 12.0" in str(caught.value)
    assert str(caught.value).endswith("--target tensorrt-rtx --compute-capability 12.0")


def test_tensorrt_is_told_no_capability_it_builds_for_the_gpu_that_is_there(
    opened: Bundle,
) -> None:
    with pytest.raises(EngineError) as caught:
        fits(opened, directory_of(opened, target="tensorrt"), capability="9.0")
    assert str(caught.value).endswith(f"build-engine {opened.path} --target tensorrt")


@pytest.mark.parametrize(("capability", "fit"), [("12.0", True), ("9.0", True), ("7.5", False)])
def test_an_ampere_plus_engine_runs_on_ampere_and_what_came_after(
    opened: Bundle, capability: str, fit: bool
) -> None:
    made = directory_of(opened, hardware_compatibility="ampere-plus", capabilities=("8.0",))
    if fit:
        fits(opened, made, capability=capability)
    else:
        with pytest.raises(EngineError, match=r"this GPU has 7\.5"):
            fits(opened, made, capability=capability)


@pytest.mark.parametrize("changed", ["graphs/image_encoder.onnx", "graphs/weights.bin"])
def test_a_graph_or_weights_that_changed_are_another_graph(opened: Bundle, changed: str) -> None:
    made = directory_of(opened)
    files = {**opened.manifest.files, changed: FileInfo(bytes=5, sha256="a" * 64)}
    other = Bundle(opened.path, opened.manifest.model_copy(update={"files": files}))
    with pytest.raises(EngineError, match="another version of the bundle's graph"):
        fits(other, made)


def test_a_graph_without_an_engine_is_named(opened: Bundle) -> None:
    made = directory_of(opened)
    with pytest.raises(EngineError, match="has no engine of text_encoder; run itr-deploy build-"):
        check_fit(opened, made, "text_encoder", HERE)


def test_the_command_that_rebuilds_has_the_options_of_the_engine(opened: Bundle) -> None:
    made = directory_of(
        opened,
        GivenSizes(max={"regions": 50, "batch": 128}, opt={"batch": 4}),
        capabilities=("8.0", "8.6", "8.9", "12.0"),
        hardware_compatibility="same-compute-capability",
        version_compatible=True,
        optimization_level=2,
        workspace=1 << 30,
    )
    with pytest.raises(EngineError) as caught:
        fits(opened, made, version="3.0")
    assert str(caught.value).endswith(
        f"run itr-deploy build-engine {opened.path} --target tensorrt-rtx "
        "--hardware-compatibility same-compute-capability --version-compatible "
        "--optimization-level 2 --workspace 1073741824 "
        "--opt-shapes batch=4 --max-shapes regions=50,batch=128"
    )


def test_a_gpu_that_rtx_is_not_for_is_told_of_tensorrt(opened: Bundle) -> None:
    with pytest.raises(EngineError) as caught:
        fits(opened, directory_of(opened), capability="9.0")
    assert str(caught.value).endswith(f"build-engine {opened.path} --target tensorrt")


def test_an_older_driver_than_the_engine_was_built_under_is_named(opened: Bundle) -> None:
    made = directory_of(opened, driver="13.1")
    for driver in ("13.0", "14.0"):
        fits(opened, made, driver=driver)
    with pytest.raises(EngineError) as caught:
        fits(opened, made, driver="12.8")
    assert str(caught.value) == (
        f"{made.file(GRAPH)}: was built under a driver for CUDA 13.1, here is one for 12.8; "
        f"update the driver, or run itr-deploy build-engine {opened.path} "
        "--target tensorrt-rtx --compute-capability 8.0,8.6"
    )
