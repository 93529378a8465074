"""Every supported version of TensorRT has what the package declares; mypy checks its uses."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import itr_deploy
from itr_deploy.runtime.backends.tensorrt.engine import TYPES
from tools.tensorrt_api import RECORD, RTX, VERSIONS, declared, fits, found, recorded

PACKAGE = Path(itr_deploy.__file__).parent
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in PACKAGE.rglob("*.py")
    if path.name != "tensorrt_api.py"
}
DECLARED = declared()

ONLY = {
    "ComputeCapability": RTX,
    "IBuilderConfig.num_compute_capabilities": RTX,
    "IBuilderConfig.set_compute_capability": RTX,
}
"""Not in every version: TensorRT builds for the GPU that is there, only RTX builds for others."""


def test_the_record_is_of_what_is_declared() -> None:
    assert json.loads(RECORD.read_bytes()).keys() == DECLARED.keys(), (
        "what is declared was not looked up; run python -m tools.tensorrt_api"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_supported_version_has_what_is_declared(version: str) -> None:
    has = recorded(version)
    lacking = [path for path, wanted in DECLARED.items() if not fits(wanted, has.get(path))]
    assert lacking == [path for path in DECLARED if ONLY.get(path, version) != version]


def test_the_installed_library_is_as_recorded() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    version = ".".join(trt.__version__.split(".")[:2])
    if f"rtx-{version}" != RTX:
        pytest.skip(f"TensorRT for RTX {version} is not recorded")
    assert found(trt) == recorded(RTX)


@pytest.mark.parametrize(
    ("wanted", "form", "fit"),
    [
        ("property ro", "property rw", True),
        ("property rw", "property ro", False),
        ("class", None, False),
        ("(a: int) -> None", "(a: int, b: Dims=..., c: int=...) -> None", True),
        ("(a: int, b: Dims=...) -> None", "(a: int, b: Dims=...) -> None", True),
        ("(a: int) -> None", "(a: int, b: Dims) -> None", False),
        ("(a: int) -> None", "(a: str) -> None", False),
        ("(a: int) -> None", "(b: int) -> None", False),
        ("(a: int) -> None", "(a: int) -> bool", False),
    ],
)
def test_a_declaration_fits_what_may_be_used_so(wanted: str, form: str | None, fit: bool) -> None:
    assert fits(wanted, form) is fit


def test_nothing_is_declared_that_is_not_used() -> None:
    words = set(re.findall(r"\w+", "\n".join(SOURCES.values())))
    members = {path.rpartition(".")[2] for path, form in DECLARED.items() if form != "class"}
    assert members - words == set()


def test_every_type_of_a_tensor_is_one_of_the_librarys() -> None:
    assert {f"DataType.{name}" for name in TYPES} <= DECLARED.keys()


def test_what_the_library_makes_is_hidden_from_the_type_checker_nowhere() -> None:
    """What is `Any` is CUDA's, or the logger, which the package makes."""
    holding = [s for p, s in SOURCES.items() if "tensorrt_api import" in s or "/tensorrt/" in p]
    assert len(holding) >= 14
    names = {name for source in holding for name in _any(ast.parse(source))}
    assert names == {
        *("code", "kind", "graph", "_cuda_graph", "capture"),
        *("logger", "_make_logger"),
    }


def _any(tree: ast.Module) -> Iterator[str]:
    """Parameters, variables and functions that are `Any`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            name, kind = node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign):
            name, kind = ast.unparse(node.target).removeprefix("self."), node.annotation
        elif isinstance(node, ast.FunctionDef):
            name, kind = node.name, node.returns
        else:
            continue
        if kind is not None and "Any" in ast.unparse(kind).split(" | "):
            yield name
